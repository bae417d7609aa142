"""The passphrase of a backup: from a setting, or from somebody at a terminal."""

from __future__ import annotations

import getpass
import sys
from typing import Final

from gateway_project.backup.errors import BackupError
from gateway_project.env import Environment

SHORTEST: Final = 12
"""Characters. Who has the file may try as often as they like."""
MISSING: Final = (
    "A backup is encrypted: set BACKUP_PASSPHRASE, or BACKUP_PASSPHRASE_FILE to the path of a file that holds it."
)


def to_seal(env: Environment) -> str:
    """Raise BackupError."""
    given = env.backup_passphrase.get_secret_value()
    text = given or _asked("Passphrase of the backup: ")
    if len(text) < SHORTEST:
        raise BackupError(f"The passphrase has {len(text)} characters; a backup needs {SHORTEST} or more.")
    if not given and _asked("Once more: ") != text:
        raise BackupError("The two are not the same.")
    return text


def to_open(env: Environment) -> str:
    """Raise BackupError."""
    return env.backup_passphrase.get_secret_value() or _asked("Passphrase of the backup: ")


def _asked(prompt: str) -> str:
    # Without a terminal nobody could answer, and a cron job would wait for ever.
    if not sys.stdin.isatty():
        raise BackupError(MISSING)
    try:
        return getpass.getpass(prompt)
    except EOFError:
        raise BackupError(MISSING) from None
