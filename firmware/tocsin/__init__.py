"""Tocsin: the bracelet's firmware. Nothing is imported here, so that `main` decides what is loaded and when."""
