"""The executable out of a VSIX: fetched, unwrapped, unpacked whole and once into a directory of ours (PROTOCOL 1.1)."""

from __future__ import annotations

import contextlib
import errno
import fcntl
import gzip
import hashlib
import io
import os
import platform
import re
import shutil
import stat
import tempfile
import zipfile
import zlib
from collections.abc import Callable, Iterator
from pathlib import Path, PurePosixPath
from typing import IO, NamedTuple

import msgspec

from bridge.lingma.errors import DownloadFailed, VsixError
from bridge.lingma.install import download
from bridge.lingma.install.download import CHUNK, MOST_PACKED
from bridge.lingma.transport.urls import is_url, shown
from bridge.status.versions import numbers
from gateway_project.lib.json_errors import UNREADABLE
from gateway_project.lib.texts import Text, gettext_noop

MOST_UNPACKED = 4 << 30
MOST_FILES = 20_000
DEEPEST = 32
"""Parts of a path in an archive: a tree of a thousand folders can be made, and then nothing deletes it any more."""
LARGEST_DIRECTORY = 4 << 20
"""Bytes of the list of files in an archive, each of which becomes an object when it is read."""
RESERVE = 256 << 20
"""Bytes that stay free on the disk."""

STAMP = "unpacked.json"
LOCK = "lock"
DRAFT = ".draft-"

_NUMBER = r"v?[0-9][A-Za-z0-9_.+-]{0,62}"  # as long as a version may be in the database
_INNER = re.compile(rf"extension/dist/bin/lingma-({_NUMBER})\.zip", re.IGNORECASE)
_VERSION = re.compile(_NUMBER)
_CPUS = {"amd64": "x86_64", "x64": "x86_64", "arm64": "aarch64"}
FULL = (errno.ENOSPC, errno.EDQUOT)
_BROKEN = (
    zipfile.BadZipFile, zlib.error, gzip.BadGzipFile, EOFError, NotImplementedError, RuntimeError, ValueError,
    LookupError,
)  # fmt: skip


class Unpacked(msgspec.Struct, frozen=True):
    """`executable` is the path below the directory, `<version>/<platform>/<name>`; digests are SHA-256, in hex."""

    executable: str
    archive_sha256: str
    """Of the zip, without the gzip that may be around it."""
    sha256: str
    """Of the executable."""

    @property
    def version(self) -> str:
        return self.executable.partition("/")[0]


class Stamp(msgspec.Struct, frozen=True):
    """What was unpacked last, and a digest of the source as it was then."""

    source: str
    unpacked: Unpacked


class Build(NamedTuple):
    """A directory `<version>/<platform>` of the inner archive."""

    version: str
    platform: str


def find(into: Path) -> Path:
    """The executable that was unpacked into this directory. Raise VsixError when there is none."""
    return into / last(into).executable


def last(into: Path) -> Unpacked:
    """What `unpack` has put there last. Raise VsixError when there is nothing."""
    stamp = _stamp(into)
    if stamp is None or not os.access(into / stamp.unpacked.executable, os.X_OK):
        raise VsixError(f"nothing is unpacked in {into}; the next start of the gateway does it")
    return stamp.unpacked


def is_unpacked(source: str, into: Path, sha256: str = "") -> bool:
    stamp = _stamp(into)
    same = stamp is not None and stamp.source == _identity(source, sha256)
    return same and stamp is not None and os.access(into / stamp.unpacked.executable, os.X_OK)


def unpack(source: str, into: Path, sha256: str = "") -> Path:
    """
    Unpack `<version>/<platform>` for this machine below `into`, unless that was done; the path of the executable.

    `source` is a path or a URL, `sha256` the digest it must have; without one a URL has to be https. Safe to call
    from several processes at once. Raise VsixError.
    """
    # The check is inside the lock: whoever waited finds the work done.
    with _reported(source), _alone(into):
        if not is_unpacked(source, into, sha256):
            _unpack_anew(source, into, sha256)
        return find(into)


def install(source: str, into: Path, sha256: str, allowed: Callable[[Unpacked], None]) -> Unpacked:
    """
    Unpack a version beside the others; what `unpack` has put there stays what `find` finds.

    `allowed` may refuse it with VsixError before it is there. A version that is there already is left alone, and
    refused when its executable is another one. Raise VsixError.
    """
    with _reported(source), _alone(into), tempfile.TemporaryDirectory(prefix=DRAFT, dir=into) as draft_name:
        tree, found = _unpack_draft(source, Path(draft_name), sha256)
        allowed(found)
        target = (into / found.executable).parent
        if not target.exists():
            target.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
            tree.rename(target)
        elif not (there := into / found.executable).is_file() or download.digest_of(there) != found.sha256:
            words = gettext_noop("another build of %(version)s lies in %(path)s; delete that version first")
            raise VsixError(words, version=found.version, path=target)
        return found


def is_same(path: Path, sha256: str) -> bool:
    """Whether the SHA-256 of a file is this one, in hex. Raise OSError."""
    return download.digest_of(path) == sha256


def remove(version: str, into: Path) -> None:
    """Delete the files of a version, if there are any here. Raise VsixError."""
    if not _VERSION.fullmatch(version):
        raise VsixError(f"{version!r} is no version")
    with _reported(version), _alone(into):
        if (into / version).exists():
            shutil.rmtree(into / version)


@contextlib.contextmanager
def _reported(source: str) -> Iterator[None]:
    """Whatever goes wrong with it is a VsixError."""
    try:
        yield
    except DownloadFailed as exc:
        raise VsixError(str(exc)) from exc
    except _BROKEN as exc:
        words = gettext_noop("%(path)s is damaged or no VSIX: %(error)s")
        raise VsixError(words, path=shown(source), error=exc) from exc
    except OSError as exc:
        if exc.errno in FULL:
            words = gettext_noop("there is no room in DATA_DIR to unpack the VSIX; delete what is not needed there")
            raise VsixError(words) from exc
        raise VsixError("%(path)s: %(error)s", path=shown(source), error=exc.strerror or exc) from exc


@contextlib.contextmanager
def _alone(into: Path) -> Iterator[None]:
    """Wait for the process that is unpacking; clear away what one that died has left."""
    into.mkdir(mode=0o700, parents=True, exist_ok=True)
    with (into / LOCK).open("w") as lock:
        # The kernel lets go of it when the process dies, unlike a file whose presence is the lock.
        fcntl.flock(lock, fcntl.LOCK_EX)
        # With the lock held nobody is at work, so every draft is a leftover.
        for left in into.glob(f"{DRAFT}*"):
            shutil.rmtree(left, ignore_errors=True)
        yield


def _stamp(into: Path) -> Stamp | None:
    try:
        return msgspec.json.decode((into / STAMP).read_bytes(), type=Stamp)
    except (OSError, *UNREADABLE):
        return None


def _identity(source: str, sha256: str) -> str:
    """Changes with the URL, or with path, size and time of the file, and with the digest it must have.

    A digest itself, as a URL may hold a secret.
    """
    text = source
    if not is_url(source):
        with contextlib.suppress(OSError):
            found = Path(source).stat()
            text = f"{Path(source).resolve()}\n{found.st_size}\n{found.st_mtime_ns}"
    return hashlib.sha256(f"{text}\n{sha256}".encode() if sha256 else text.encode()).hexdigest()


def _unpack_anew(source: str, into: Path, sha256: str) -> None:
    identity = _identity(source, sha256)
    # On the same file system as the target, so that the renames are atomic.
    with tempfile.TemporaryDirectory(prefix=DRAFT, dir=into) as draft_name:
        draft = Path(draft_name)
        tree, found = _unpack_draft(source, draft, sha256)
        # Tree, then stamp: the stamp says that the tree is whole, so it comes last.
        _move(tree, (into / found.executable).parent, draft / "old", into / STAMP)
        (draft / STAMP).write_bytes(msgspec.json.encode(Stamp(identity, found)))
        (draft / STAMP).rename(into / STAMP)


def _unpack_draft(source: str, draft: Path, sha256: str) -> tuple[Path, Unpacked]:
    """The tree, in the draft, and what it is."""
    packed, tree = _packed(source, draft, sha256), draft / "tree"
    build = _extract(_inner_archive(packed, draft), tree)
    executable = _executable(tree, build)
    path = f"{build.version}/{build.platform}/{executable}"
    return tree, Unpacked(path, download.digest_of(packed), download.digest_of(tree / executable))


def _move(tree: Path, target: Path, aside: Path, stamp: Path) -> None:
    """Put the finished tree in its place. Without a stamp a crash between the two renames is seen."""
    stamp.unlink(missing_ok=True)
    target.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
    # Moved aside and not deleted first: a process that runs from it keeps its open files.
    if target.exists():
        target.rename(aside)
    tree.rename(target)


def _packed(source: str, draft: Path, sha256: str) -> Path:
    """The archive, without the gzip that the marketplace may wrap around it. Raise VsixError if it is another one."""
    fetched = Path(source)
    if is_url(source):
        fetched = draft / "fetched"
        download.fetch(source, fetched, sha256)
    elif sha256:  # what is checked is what is unpacked, whoever writes to the file meanwhile
        fetched = draft / "fetched"
        shutil.copyfile(source, fetched)
    plain = _plain(fetched, draft)
    if sha256 and sha256 not in (found := [download.digest_of(each) for each in dict.fromkeys((fetched, plain))]):
        words = gettext_noop("%(path)s is another file than the digest says: its SHA-256 is %(sha256)s")
        raise VsixError(words, path=shown(source), sha256=found[-1])
    return plain


def _copy(read: Callable[[int], bytes], target: IO[bytes], most: int) -> int:
    """How many bytes were copied; never more than `most`, whatever an archive says."""
    copied = 0
    while data := read(CHUNK):
        copied += len(data)
        if copied > most:
            raise VsixError(gettext_noop("the VSIX holds more than the %(mib)d MiB allowed here"), mib=most >> 20)
        target.write(data)
    return copied


def _plain(packed: Path, draft: Path) -> Path:
    """Without the gzip that the marketplace may wrap around the zip."""
    # By its first bytes and not by its name: a URL has no ending that one can trust.
    with packed.open("rb") as file:
        if file.read(2) != b"\x1f\x8b":
            return packed
    with gzip.open(packed) as source, (draft / "plain").open("wb") as target:
        _copy(source.read, target, MOST_PACKED)
    return draft / "plain"


class _SmallReads(io.FileIO):
    """An archive's list of files is read at once, however long it says that it is."""

    def read(self, size: int | None = -1) -> bytes:
        if size is None or size < 0:  # the end of the archive, by which its list is found
            size = LARGEST_DIRECTORY
        if size > LARGEST_DIRECTORY:
            raise VsixError(gettext_noop("the VSIX holds more than the %(count)d files allowed here"), count=MOST_FILES)
        return super().read(size)


@contextlib.contextmanager
def _opened(archive: Path) -> Iterator[zipfile.ZipFile]:
    with _SmallReads(archive) as file, zipfile.ZipFile(file) as found:
        yield found


def _inner_archive(packed: Path, draft: Path) -> Path:
    """The zip within the zip, of the highest version."""
    with _opened(packed) as vsix:
        found = [(match[1], name) for name in vsix.namelist() if (match := _INNER.fullmatch(name))]
        if not found:
            raise VsixError(gettext_noop("there is no extension/dist/bin/lingma-<version>.zip in the VSIX"))
        _, name = max(found, key=lambda each: numbers(each[0]))
        with vsix.open(_ordinary(vsix.getinfo(name))) as source, (draft / "inner").open("wb") as target:
            _copy(source.read, target, MOST_PACKED)
    return draft / "inner"


def this_platform() -> str:
    """The name of this machine's directory (PROTOCOL 1.1)."""
    cpu = platform.machine().lower()
    return f"{_CPUS.get(cpu, cpu)}_{platform.system().lower()}"


def _extract(archive: Path, tree: Path) -> Build:
    """Unpack the directory of the highest version for this machine; which one it was."""
    with _opened(archive) as inner:
        entries = inner.infolist()
        # The archive comes from outside: entries, sizes and paths are bounded before and while it is unpacked.
        if len(entries) > MOST_FILES:
            words = gettext_noop("the VSIX holds more than the %(count)d files allowed here")
            raise VsixError(words, count=MOST_FILES)
        build = _choose([_checked(entry) for entry in entries])
        tree.mkdir(mode=0o700)
        honest = sum(entry.file_size for entry in entries if PurePosixPath(entry.filename).parts[:2] == build)
        if shutil.disk_usage(tree).free < min(honest, MOST_UNPACKED) + RESERVE:
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
        left = MOST_UNPACKED
        for entry in entries:
            path = PurePosixPath(entry.filename)
            # Sizes are counted as they are written. Those in the archive's head may be wrong on purpose.
            if path.parts[:2] == build and not entry.is_dir():
                left -= _write(inner, entry, tree.joinpath(*path.parts[2:]), left)
    return build


def _checked(entry: zipfile.ZipInfo) -> PurePosixPath:
    """The path of an entry. Raise VsixError for one that could end up, or point, elsewhere."""
    path, kind = PurePosixPath(entry.filename), stat.S_IFMT(entry.external_attr >> 16)
    # Backslash and colon are paths on Windows only, but an honest VSIX has neither.
    unsafe = path.is_absolute() or ".." in path.parts or any(sign in entry.filename for sign in "\\:\0")
    if unsafe or len(path.parts) > DEEPEST or kind not in {0, stat.S_IFREG, stat.S_IFDIR}:
        words = gettext_noop("the VSIX holds a file that is refused: %(name)s")
        raise VsixError(words, name=repr(entry.filename[:100]))
    return path


def _ordinary(entry: zipfile.ZipInfo) -> zipfile.ZipInfo:
    """The entry, when it is packed as VSIX files are."""
    # Fewer decoders are fewer ways to be surprised by an archive.
    if entry.compress_type not in {zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED}:
        words = gettext_noop("the VSIX holds a file packed in an unusual way: %(name)s")
        raise VsixError(words, name=repr(entry.filename[:100]))
    return entry


def _choose(paths: list[PurePosixPath]) -> Build:
    builds = {Build(*path.parts[:2]) for path in paths if len(path.parts) > 2 and _VERSION.fullmatch(path.parts[0])}
    here = this_platform()
    fitting = [build for build in builds if build.platform == here]
    if not fitting:
        others = ", ".join(sorted({build.platform for build in builds})) or Text(gettext_noop("no platform at all"))
        words = gettext_noop("the VSIX holds no Lingma for %(platform)s, but for %(others)s")
        raise VsixError(words, platform=here, others=others)
    return max(fitting, key=lambda build: numbers(build.version))


def _write(archive: zipfile.ZipFile, entry: zipfile.ZipInfo, path: Path, most: int) -> int:
    """Unpack one file, executable; its size. A second one of the same name is refused."""
    path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
    with archive.open(_ordinary(entry)) as source, path.open("xb") as target:
        size = _copy(source.read, target, most)
    # All files alike: they need the bit on unix (PROTOCOL 1.1), and an archive made on Windows carries none.
    path.chmod(0o755)
    return size


def _executable(tree: Path, build: Build) -> str:
    for name in ("Lingma", "Lingma.exe"):
        if (tree / name).is_file():
            return name
    words = gettext_noop("there is no Lingma in %(version)s/%(platform)s of the VSIX")
    raise VsixError(words, version=build.version, platform=build.platform)
