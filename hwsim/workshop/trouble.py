"""Errors at the bench, each a sentence for the engineer."""

from __future__ import annotations


class Trouble(Exception):
    """A step that can't be finished. The text says what, where, and what to do; nothing private is in it."""
