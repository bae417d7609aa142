"""Files of DATA_DIR in a backup: logins that only a work directory has, and on demand the programs of Lingma."""

from __future__ import annotations

import os
import stat
from contextlib import suppress
from pathlib import Path, PurePosixPath
from typing import Final

from bridge.fleet.versions import DIRECTORY as PROGRAMS
from bridge.lingma.install.vsix import DRAFT, LOCK
from bridge.logins.bundle import BadBundle, from_folder
from bridge.logins.work_dir import NOTE
from gateway_project.backup.errors import BackupError
from gateway_project.backup.records import PIECE, File, Writer
from gateway_project.backup.whole_file import sync_folder

WORK_DIRS: Final = "instances"
IN_USE: Final = ".in-use"
DEEPEST: Final = 40
"""Parts of a path; those of programs have fewer (`vsix`)."""


def write_logins(writer: Writer, data_dir: Path) -> int:
    """How many work directories have one."""
    logins, folder = 0, data_dir / WORK_DIRS
    for work_dir in sorted(folder.iterdir()) if folder.is_dir() else ():
        if work_dir.name.endswith(IN_USE) and work_dir.is_file():
            _write(writer, f"{WORK_DIRS}/{work_dir.name}", work_dir.read_bytes())
        elif work_dir.is_dir() and not work_dir.is_symlink():
            logins += _write_login(writer, work_dir)
    return logins


def _write_login(writer: Writer, work_dir: Path) -> bool:
    try:
        if not (work_dir / "cache").is_dir():
            return False
        files = dict(from_folder(work_dir).files)
    except (BadBundle, OSError):
        return False  # nobody is logged in there
    with suppress(OSError):
        files[NOTE] = (work_dir / NOTE).read_bytes()
    for name, content in files.items():
        _write(writer, f"{WORK_DIRS}/{work_dir.name}/{name}", content)
    return True


def write_programs(writer: Writer, data_dir: Path) -> int:
    """How many files there are."""
    count, folder = 0, data_dir / PROGRAMS
    for place, folders, names in os.walk(folder):
        folders[:] = sorted(each for each in folders if not each.startswith(DRAFT))
        for path in (Path(place) / name for name in sorted(names)):
            mode = path.lstat().st_mode
            if not stat.S_ISREG(mode) or path == folder / LOCK:
                continue
            count += 1
            writer.write(File(path.relative_to(data_dir).as_posix(), stat.S_IMODE(mode) & 0o700))
            with path.open("rb") as file:
                while data := file.read(PIECE):
                    writer.content(data)
    return count


def _write(writer: Writer, path: str, content: bytes) -> None:
    writer.write(File(path, 0o600))
    for start in range(0, len(content), PIECE):
        writer.content(content[start : start + PIECE])


class Paths:
    """Those of a backup: below our folders, each once, and none where another one needs a folder."""

    def __init__(self) -> None:
        self._files: set[PurePosixPath] = set()
        self._folders: set[PurePosixPath] = set()

    def add(self, path: str) -> None:
        """Raise BackupError."""
        pure = _checked(path)
        if pure in self._files or pure in self._folders or not self._files.isdisjoint(pure.parents):
            raise BackupError(f"The backup has two files in one place: {path[:100]!r}.")
        self._files.add(pure)
        self._folders.update(pure.parents)


class Staging:
    """Files of a backup beside their places, until all of them are there."""

    def __init__(self, data_dir: Path, folder: Path) -> None:
        self._data_dir, self._folder = data_dir, folder
        self._descriptor = -1
        self.names: list[str] = []

    def begin(self, file: File) -> None:
        self.end()
        path = self._folder / _checked(file.path)
        _require_place(self._data_dir, path.relative_to(self._folder))
        path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
        flags = os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW
        self._descriptor = os.open(path, flags, file.mode & 0o700 | 0o600)
        self.names.append(file.path)

    def add(self, data: bytes) -> None:
        view = memoryview(data)
        while view:
            view = view[os.write(self._descriptor, view) :]

    def end(self) -> None:
        """The file is whole."""
        if self._descriptor >= 0:
            os.fsync(self._descriptor)
            os.close(self._descriptor)
            self._descriptor = -1

    def move(self) -> None:
        """Put them into their places. Raise OSError."""
        for name in self.names:
            target = self._data_dir / name
            target.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
            (self._folder / name).replace(target)
            sync_folder(target.parent)


def _checked(path: str) -> PurePosixPath:
    """Raise BackupError for what would lie elsewhere."""
    pure = PurePosixPath(path)
    is_plain = not pure.is_absolute() and ".." not in pure.parts and "\0" not in path
    if not is_plain or pure.parts[:1] not in ((WORK_DIRS,), (PROGRAMS,)) or not 2 <= len(pure.parts) <= DEEPEST:
        raise BackupError(f"The backup has a file that does not belong there: {path[:100]!r}.")
    return pure


def _require_place(data_dir: Path, path: Path) -> None:
    """Raise BackupError where the file could not be put: the database would have its place by then."""
    folders = [data_dir / each for each in path.parents]
    if (data_dir / path).is_dir() or any(each.exists() and not each.is_dir() for each in folders):
        raise BackupError(f"There is no place for {path} of the backup in DATA_DIR: what is there is no such file.")
