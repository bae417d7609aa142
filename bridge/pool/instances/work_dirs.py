"""The two work dirs of an instance, in turn: its service has one, and its successor is prepared in the other.

Which one is in use is noted beside them, so that a start finds the one that was used last.
"""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path
from typing import Final

from bridge.logins.work_dir import held_in, remove, stamp_of

LARGEST: Final = 1 << 20
MOST: Final = 1000
NOT_CLONED: Final = frozenset(
    {"bin", "db", "index", "logs", "model", "projects", "vscode", "ai_tracker", ".info", ".info.json"}
)
"""What a service makes for itself, where it runs, or where it ran (PROTOCOL 3.1)."""


def in_use(first: Path) -> Path:
    """The one that is in use; `first` is the one that a new instance begins with."""
    try:
        noted = _note(first).read_text().strip()
    except (OSError, UnicodeDecodeError):
        return first
    return other(first, first) if noted == other(first, first).name else first


def other(first: Path, used: Path) -> Path:
    return first.with_name(f"{first.name}.b") if used == first else first


def use(first: Path, used: Path) -> None:
    """Note it. Raise OSError."""
    draft = first.with_name(f"{first.name}.in-use.tmp")
    draft.write_text(used.name)
    draft.replace(_note(first))


def clone(source: Path, target: Path) -> None:
    """Have `target`, which no service may use, hold the settings and the login of `source`. Raise OSError.

    A service that has the whole of a work dir is the same service, as far as its servers can tell (PROTOCOL 3.2).
    """
    before = stamp_of(source)
    for name in _files(target):
        (target / name).unlink(missing_ok=True)
    target.mkdir(mode=0o700, parents=True, exist_ok=True)
    for name in _files(source):
        path = target / name
        path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
        path.write_bytes((source / name).read_bytes())
        path.chmod(0o600)
    if stamp_of(source) != before:
        raise OSError("the login was written anew meanwhile")


def forget_login(unused: Path) -> None:
    """Take away the login that was put there, of which nobody needs a second copy. Raise OSError."""
    held = held_in(unused)
    if held is not None:
        remove(unused, held.files)


def _files(work_dir: Path) -> list[Path]:
    """Small files that are not NOT_CLONED, relative to it."""
    return list(_walk(work_dir, Path()))[:MOST]


def _walk(root: Path, folder: Path) -> Iterator[Path]:
    try:
        found = sorted(os.scandir(root / folder), key=lambda each: each.name)
    except OSError:
        return
    for each in found:
        if each.name in NOT_CLONED:
            continue
        if each.is_dir(follow_symlinks=False):
            yield from _walk(root, folder / each.name)
        elif each.is_file(follow_symlinks=False) and each.stat().st_size <= LARGEST:
            yield folder / each.name


def _note(first: Path) -> Path:
    return first.with_name(f"{first.name}.in-use")
