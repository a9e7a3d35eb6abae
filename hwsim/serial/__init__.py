"""The bracelet's USB serial port for stock programs: MicroPython's prompt (mpremote), the ESP32's ROM loader (esptool).

Real time only: on the other end of the PTY sits a real program. The prompt itself runs in the bracelet's interpreter
(shims/_repl.py).
"""
