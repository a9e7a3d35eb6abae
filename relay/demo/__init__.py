"""The command `relay demo`, which shows one alarm, end to end, on this machine.

The demo wires together a broker with TLS, the relay, and one bracelet (the unmodified firmware in a real MicroPython on
simulated hardware), so that a newcomer sees what happens between a press and the answer on the wrist. The demo is no
way to run a relay for people: it throws away everything that it makes.
"""
