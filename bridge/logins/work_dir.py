"""The login in a work dir: which one it is, put there before the service starts, and what the service makes of it.

Beside the files lies a note of whose they are, so that a start after any end of the gateway knows what it finds.
"""

from __future__ import annotations

import os
from pathlib import Path
from typing import Final

import msgspec

from bridge.logins.bundle import ID, NEEDED, USER, BadBundle, Bundle, checked
from gateway_project.lib.json_errors import UNREADABLE

NOTE: Final = ".lingma-gateway-login.json"
Stamp = tuple[tuple[int, int, int], ...]
"""Of `cache/user` and `cache/id`: inode, size, and when it was written."""


class Held(msgspec.Struct, frozen=True):
    """The login that a work dir has."""

    login: int
    generation: int
    digest: str
    """As it was put there, or as the service's own was stored."""
    endpoint: str = ""
    files: tuple[str, ...] = NEEDED


def held_in(work_dir: Path) -> Held | None:
    """None where nobody has put a login, or its note cannot be read."""
    try:
        return msgspec.json.decode((work_dir / NOTE).read_bytes(), type=Held)
    except (OSError, *UNREADABLE):
        return None


def note(work_dir: Path, held: Held) -> None:
    """Raise OSError."""
    _replace(work_dir / NOTE, msgspec.json.encode(held))


def put(work_dir: Path, bundle: Bundle, held: Held) -> None:
    """Have the service find this login when it starts; it must not run. Raise OSError.

    The note comes last: a start after a crash in between puts everything there again.
    """
    before = held_in(work_dir)
    remove(work_dir, before.files if before is not None else ())
    for name, content in bundle.files.items():
        path = work_dir / name
        path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
        _replace(path, content)
    note(work_dir, held)


def remove(work_dir: Path, files: tuple[str, ...] = ()) -> None:
    """Take the login away that was put there, if any was; the service must not run. Raise OSError."""
    # First: half of a login must not pass for the whole.
    (work_dir / NOTE).unlink(missing_ok=True)
    for name in files:
        (work_dir / name).unlink(missing_ok=True)


def stamp_of(work_dir: Path) -> Stamp | None:
    """None while one of the two files is not there."""
    try:
        found = [os.stat(work_dir / name) for name in NEEDED]
    except OSError:
        return None
    return tuple((each.st_ino, each.st_size, each.st_mtime_ns) for each in found)


def read(work_dir: Path, files: tuple[str, ...]) -> Bundle | None:
    """The login as it lies there now, `files` if they still exist; None when it is none."""
    found = {}
    for name in {USER, ID, *files}:
        try:
            found[name] = (work_dir / name).read_bytes()
        except OSError:
            continue
    try:
        return checked(found)
    except BadBundle:
        return None


def _replace(path: Path, content: bytes) -> None:
    """A reader sees the old or the new file, never half of one, and nobody else may read it."""
    draft = path.with_name(f"{path.name}.gateway.tmp")
    draft.unlink(missing_ok=True)
    with open(os.open(draft, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW, 0o600), "wb") as file:
        file.write(content)
        file.flush()
        os.fsync(file.fileno())
    draft.replace(path)
