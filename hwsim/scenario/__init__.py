"""Scenarios: what can happen to a bracelet and its world, told in one file, played on a rig, and judged."""
