"""Backups: one file for the operators' recovery key, made while the relay runs, and what makes a relay of it again.

`recovery` is the key, `sealed` the file's form, `contents` what is in it, `save` and `restore` the two ways. Not for:
the embedded broker's files, which hold nothing that the relay does not send again.
"""


class BackupError(Exception):
    """A backup that can't be made or restored; the message says why and what to do."""
