"""Which file a connection has open: who keeps one has to see that its file was moved away or replaced."""

from __future__ import annotations

import os
from contextlib import suppress
from typing import Any

FileId = tuple[int, int]


def file_id(connection: Any) -> FileId | None:
    """Of the file that is where the database should be; None when there is none."""
    with suppress(OSError):
        found = os.stat(connection.settings_dict["NAME"])
        return found.st_dev, found.st_ino
    return None


def is_in_place(connection: Any) -> bool:
    """The file that was opened is still the database. What another one is told would be lost."""
    return bool(file_id(connection) == connection.file_id)


def reopen(connection: Any) -> None:
    """A file that somebody has put in the place of the database is the database; the old one is nobody's."""
    if connection.vendor == "sqlite" and not is_in_place(connection):
        connection.close()
