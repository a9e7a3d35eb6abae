"""Power cuts at every flash operation of an alarm's whole life; the bracelet must come back from each.

`life` lives an alarm on a bracelet with a real relay behind it and takes the supply away at one operation; `judge` says
what must hold afterwards; `secrets` knows what may not be on the chip; `command` repeats this for every operation.
"""
