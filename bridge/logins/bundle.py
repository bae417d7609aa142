"""The files that a login at Lingma consists of, apart from any work dir (PROTOCOL 3.2)."""

from __future__ import annotations

import hashlib
import io
import os
import re
import stat
import zipfile
import zlib
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Final, TypeVar

import msgspec

from gateway_project.lib.texts import Text, gettext_noop

USER, ID = "cache/user", "cache/id"
NEEDED: Final = (USER, ID)
LARGEST: Final = 8 << 20
"""Bytes of all files together."""
MOST_FILES: Final = 256
LARGEST_EXTRA: Final = 256 << 10
"""Bytes of a file beside the two; a larger one of a work dir is left there."""
DEEPEST: Final = 4
"""Folders below the one that is named, in which a login is looked for."""
LEFT_OUT: Final = re.compile(r"cache/(db/|ai_tracker/|diagnosis|.*\.tmp$)")
"""Sessions, with a token in clear text on one product, and what is internal: a login does without."""
_BROKEN: Final = (
    zipfile.BadZipFile, zlib.error, NotImplementedError, RuntimeError, EOFError, OSError, ValueError, LookupError,
)  # fmt: skip
"""What the library raises at a damaged archive; LookupError for a member without a name."""
T = TypeVar("T")
_NAME: Final = re.compile(r"cache(/[A-Za-z0-9_][A-Za-z0-9_.-]{0,99}){1,4}")


class BadBundle(Exception):
    """These files are no login. The message says why, and has nothing of their content."""

    def __init__(self, template: str, **values: object) -> None:
        self.text = Text(template, **values)
        super().__init__(self.text)


def _too_large() -> BadBundle:
    words = gettext_noop("A login has at most %(mib)d MiB and %(files)d files.")
    return BadBundle(words, mib=LARGEST >> 20, files=MOST_FILES)


def _of_many(count: int) -> BadBundle:
    if count:
        return BadBundle(gettext_noop("There are several logins in it: name the folder of one."))
    return BadBundle(gettext_noop("There is no folder with the files user and id in it."))


class Bundle(msgspec.Struct, frozen=True):
    """Files by their path in a work dir, `cache/user` and `cache/id` among them. Its `repr` shows none of them."""

    files: dict[str, bytes]

    def __repr__(self) -> str:
        return f"<Bundle of {len(self.files)} files>"

    __str__ = __repr__

    @property
    def digest(self) -> str:
        """Of the two files that make the login; by it a login that the service has written anew is noticed."""
        whole = hashlib.sha256()
        for name in NEEDED:
            whole.update(hashlib.sha256(self.files[name]).digest())
        return whole.hexdigest()

    def packed(self) -> bytes:
        return msgspec.msgpack.encode(self)

    @classmethod
    def unpacked(cls, data: bytes) -> Bundle:
        """Raise BadBundle."""
        try:
            return checked(msgspec.msgpack.decode(data, type=cls).files)
        except msgspec.DecodeError:
            raise BadBundle(gettext_noop("What is stored is no login.")) from None


def checked(files: Mapping[str, bytes]) -> Bundle:
    """The bundle of these files. Raise BadBundle."""
    for name in NEEDED:
        if not files.get(name, b"").strip():
            raise BadBundle(gettext_noop("%(name)s is missing or empty."), name=name)
    if sum(map(len, files.values())) > LARGEST or len(files) > MOST_FILES:
        raise _too_large()
    if strange := [name for name in files if not _NAME.fullmatch(name)]:
        raise BadBundle(gettext_noop("%(name)s is no file of a login."), name=repr(strange[0][:100]))
    return Bundle(dict(files))


def is_of_login(name: str) -> bool:
    """Whether a file of a work dir belongs to its login."""
    return _NAME.fullmatch(name) is not None and LEFT_OUT.match(name) is None


def of_two(user: bytes, identity: bytes) -> Bundle:
    """The bundle of the contents of `user` and `id`. Raise BadBundle."""
    return checked({USER: user, ID: identity})


def from_folder(folder: Path) -> Bundle:
    """
    The login in a folder: a work dir, a folder with `user` and `id`, or one that has such a folder, or a ZIP, below.

    The nearest counts: a work dir may have others in it (PROTOCOL 3.1). Symbolic links are not followed. `folder` may
    be a ZIP as well. Raise BadBundle, or OSError.
    """
    if folder.is_file():
        return from_zip(_read(folder, [LARGEST]))
    if not folder.is_dir():
        raise BadBundle(gettext_noop("%(name)s is no folder."), name=folder)
    found = _nearest({each: len(each.parts) for each in _login_folders(folder)})
    if not found and len(archives := [each for each in folder.glob("*.zip") if not each.is_symlink()]) == 1:
        return from_zip(_read(archives[0], [LARGEST]))
    if len(found) != 1:
        raise _of_many(len(found))
    left = [LARGEST]
    files = {f"cache/{name}": _read(found[0] / name, left) for name in ("user", "id")}
    # A folder that is called otherwise may hold anything beside the two.
    for path in _files_of(found[0]) if found[0].name == "cache" else ():
        name = f"cache/{path.relative_to(found[0]).as_posix()}"
        if is_of_login(name) and name not in files and len(files) < MOST_FILES and _is_small(path):
            files[name] = _read(path, left)
    return checked(files)


def _nearest(depths: Mapping[T, int]) -> list[T]:
    least = min(depths.values(), default=0)
    return [each for each, depth in depths.items() if depth == least]


def _is_small(path: Path) -> bool:
    """What is larger is no login: a login does without what is not one of the two."""
    return path.stat().st_size <= LARGEST_EXTRA


def _login_folders(folder: Path) -> Iterator[Path]:
    """Folders with `user` and `id`, from `folder` on; nothing below one that is found."""
    for seen, (place, folders, files) in enumerate(os.walk(folder)):
        here = Path(place)
        if "user" in files and "id" in files:
            folders.clear()
            yield here
        # A work dir has an index and copies of programs; its login is near its top.
        if len(here.relative_to(folder).parts) >= DEEPEST or seen > MOST_FILES:
            folders.clear()
        folders[:] = [each for each in folders if each not in ("db", "index", "logs", "model", "bin")]


def _files_of(cache: Path) -> Iterator[Path]:
    for place, folders, files in os.walk(cache):
        here = Path(place)
        if len(here.relative_to(cache).parts) >= DEEPEST - 1:
            folders.clear()
        yield from (here / each for each in sorted(files) if not (here / each).is_symlink())


def _read(path: Path, left: list[int]) -> bytes:
    """`left`: bytes that may still come. Raise BadBundle for what is no plain file."""
    try:
        # Not blocking: a pipe would wait for whoever writes into it.
        opened = os.open(path, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK)
    except OSError as exc:
        words = gettext_noop("%(name)s cannot be read: %(reason)s.")
        raise BadBundle(words, name=path.name, reason=exc.strerror) from None
    with open(opened, "rb") as file:
        if not stat.S_ISREG(os.fstat(opened).st_mode):
            raise BadBundle(gettext_noop("%(name)s is no plain file."), name=path.name)
        return _bounded(file.read, left)


def _bounded(read: Callable[[int], bytes], left: list[int]) -> bytes:
    content = read(left[0] + 1)
    left[0] -= len(content)
    if left[0] < 0:
        raise _too_large()
    return content


def from_zip(data: bytes) -> Bundle:
    """The login in a ZIP of a work dir, or of a folder with `user` and `id`. Raise BadBundle."""
    try:
        with zipfile.ZipFile(io.BytesIO(data)) as archive:
            return checked(_unzipped(archive))
    except _BROKEN:
        raise BadBundle(gettext_noop("This is no ZIP archive that can be read without a password.")) from None


def _unzipped(archive: zipfile.ZipFile) -> dict[str, bytes]:
    members = {each.filename: each for each in archive.infolist() if not each.is_dir()}
    if len(members) > 100 * MOST_FILES:
        raise _too_large()
    if any(not name or ".." in name.split("/") or name.startswith("/") or "\\" in name for name in members):
        raise BadBundle(gettext_noop("A path in it leads out of its folder."))
    found = [name.removesuffix("user") for name in members if name.rpartition("/")[2] == "user"]
    folders = _nearest({each: each.count("/") for each in found if f"{each}id" in members})
    if len(folders) != 1:
        raise _of_many(len(folders))
    prefix, left = folders[0], [LARGEST]
    files: dict[str, bytes] = {}
    whole = prefix == "cache/" or prefix.endswith("/cache/")
    for name, member in members.items():
        path = f"cache/{name.removeprefix(prefix)}"
        if not name.startswith(prefix) or not is_of_login(path) or not (whole or path in NEEDED):
            continue
        if path not in NEEDED and (len(files) >= MOST_FILES - 2 or member.file_size > LARGEST_EXTRA):
            continue
        # The others are taken apart in pieces of any size: some hundred bytes become gigabytes of memory.
        if member.compress_type not in (zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED):
            raise NotImplementedError
        if stat.S_ISLNK(member.external_attr >> 16):
            raise BadBundle(gettext_noop("%(name)s is no plain file."), name=path)
        with archive.open(member) as file:
            files[path] = _bounded(file.read, left)
    return files
