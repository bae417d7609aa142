"""What a backup, a restore or an import could not do."""


class BackupError(Exception):
    """The message is one line, for whoever runs the command."""
