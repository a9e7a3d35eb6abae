"""`relay demo`: one alarm, end to end, on this machine.

A broker with TLS, the relay, and one bracelet (the unmodified firmware in a real MicroPython on simulated hardware),
wired together so that a newcomer sees what happens between a press and the answer on the wrist. Not a way to run a
relay for people: everything it makes is thrown away.
"""
