"""Reads a backup twice: once to see that it is whole and fits, before anything is changed, and once to restore it."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any, BinaryIO

from gateway_project.backup import schema
from gateway_project.backup.columns import KINDS
from gateway_project.backup.errors import BackupError
from gateway_project.backup.files import Paths
from gateway_project.backup.progress import Progress
from gateway_project.backup.records import Beginning, End, File, Manifest, Table, lines
from gateway_project.backup.sealed import opened

Line = Beginning | list[Any] | bytes


@dataclass(slots=True)
class Checked:
    """What a backup has in it."""

    manifest: Manifest
    known: dict[str, set[str]]
    """By the names of the tables that it may have: their columns."""
    paths: Paths = field(default_factory=Paths)
    tables: list[Table] = field(default_factory=list)
    rows: int = 0
    files: int = 0


def read(file: BinaryIO, passphrase: str) -> Iterator[Line]:
    """Raise BackupError."""
    file.seek(0)
    yield from lines(opened(file, passphrase))


def checked(file: BinaryIO, passphrase: str) -> Checked:
    """Read it to its end. Raise BackupError when anything is missing, damaged, or not known to this version."""
    found = read(file, passphrase)
    manifest = next(found, None)
    if not isinstance(manifest, Manifest):
        raise BackupError("The backup has no beginning.")
    what = f"The backup was made by version {manifest.gateway[:20]}, which is newer than this one"
    schema.require_known(manifest.migrations, what)
    contents, progress = Checked(manifest, _columns(manifest)), Progress()
    end = _count(contents, found, progress)
    progress.end()
    if (end.tables, end.rows) != (len(contents.tables), contents.rows) or next(found, None) is not None:
        raise BackupError("The backup is not complete.")
    return contents


def _count(contents: Checked, found: Iterator[Line], progress: Progress) -> End:
    for line in found:
        match line:
            case list():
                if contents.files or not contents.tables or len(line) != len(contents.tables[-1].columns):
                    raise BackupError("The backup has a row that does not fit into its table.")
                contents.rows += 1
                progress.step("rows checked", contents.rows)
            case Table():
                _require_known(line, contents.known)
                contents.tables.append(line)
            case File():
                contents.paths.add(line.path)
                contents.files += 1
            case bytes() if not contents.files:
                raise BackupError("The backup has contents of no file.")
            case End():
                return line
            case Manifest():
                break
    raise BackupError("The backup ends too early.")


def _columns(manifest: Manifest) -> dict[str, set[str]]:
    models = schema.models_of(manifest.migrations)
    return {each._meta.db_table: {field.column for field in each._meta.local_concrete_fields} for each in models}


def _require_known(table: Table, known: dict[str, set[str]]) -> None:
    """Names go into SQL as they are."""
    if strange := [kind for _, kind in table.columns if kind not in KINDS]:
        raise BackupError(f"The backup has a column of a kind that this version does not know: {strange[0][:50]}.")
    if not {name for name, _ in table.columns} <= known.get(table.name, set()):
        raise BackupError(f"The backup has a table that this version does not know: {table.name[:50]!r}.")
