"""`relay bench`: the pipeline under load on this machine, beside the limits of its parts, measured in the same run.

Everything is real: the embedded broker with TLS on the loopback, real bracelet keys, SQLite with synchronous=FULL in a
folder that is thrown away. The relay, the load generator and the broker are processes of their own, and on a small
machine they compete for its cores; so the figures say what one machine does that carries all three. Not part of a
running relay: it has no access to a data folder of people.
"""
