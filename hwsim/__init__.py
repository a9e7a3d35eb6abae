"""Hardware simulator for Tocsin: the unmodified firmware in a real MicroPython interpreter, in a simulated world."""
