"""Tocsin: the bracelet's firmware. Nothing is imported here, so that `main` decides what is loaded and when."""

VERSION = 1  # of the program: every released bundle has a higher one (hwsim/bundle, tocsin/update.py)
