"""The command `relay bench` measures the pipeline under load, and the limits of its parts in the same run.

Everything is real: the embedded broker with TLS on the loopback, real bracelet keys, SQLite with synchronous=FULL in a
folder that is thrown away. The relay, the load generator and the broker are processes of their own, and on a small
machine they compete for its cores; so the figures are those of one machine that carries all three. The benchmark is no
part of a running relay: it has no access to a data folder of people.
"""
