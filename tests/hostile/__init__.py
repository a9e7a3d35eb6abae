"""Attacks on a broker and a relay of one's own, on the loopback and bounded in time and size."""
