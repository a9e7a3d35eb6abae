"""Makes backups while the relay runs, each one file for the operators' recovery key, and makes a relay of a backup.

`recovery` is the key, `sealed` the file's form, `contents` its records, `save` and `restore` the two ways. A backup is
not for the embedded broker's files, which hold nothing that the relay does not send again.
"""


class BackupError(Exception):
    """A backup that can't be made or restored; the message says why and what to do."""
