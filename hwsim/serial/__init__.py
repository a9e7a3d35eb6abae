"""The bracelet's USB serial port for stock programs: MicroPython's prompt (mpremote), the ESP32's ROM loader (esptool).

It works in real time only: a real program sits on the other end of the PTY. The prompt itself runs in the bracelet's
interpreter (shims/_repl.py).
"""
