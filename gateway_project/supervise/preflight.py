"""Claims what the gateway needs before anything starts: the data directory, its lock, the listening socket."""

import contextlib
import errno
import fcntl
import os
import shutil
import socket
from collections.abc import Iterator
from pathlib import Path
from typing import Any
from urllib.parse import unquote, urlsplit

from bridge.lingma.install import download
from bridge.lingma.transport.urls import shown
from bridge.telemetry import spans
from gateway_project.env import Environment, SettingError
from gateway_project.lib.secrets import private
from gateway_project.supervise import programs

BACKLOG = 2048
FIRST_START_BYTES = 32 << 20
"""Static files take 13 MiB, the database and Redis' file grow from the first turn on."""
LOOPBACK = ("127.0.0.1", "::1")
ABSENT = {errno.EADDRNOTAVAIL, errno.EAFNOSUPPORT}
"""This machine has no such address: no harm while a name means others too."""


def check_apart(env: Environment, named: frozenset[str]) -> None:
    """Programs that run apart from each other meet in PostgreSQL and Redis: an embedded one has no others."""
    if named in (programs.ALL, {programs.PREPARE}):
        return
    for name, where in (("DATABASE_URL", env.database_url.startswith("postgres")), ("REDIS_URL", env.redis_url)):
        if not where:
            raise SettingError(f"{name}: without a server that all programs reach, they cannot run apart")


def check_programs(env: Environment) -> None:
    """Refuse a Lingma executable that cannot be started, and a VSIX that is not there."""
    if env.lingma_bin and not (Path(env.lingma_bin).is_file() and os.access(env.lingma_bin, os.X_OK)):
        raise SettingError(f"LINGMA_BIN: {env.lingma_bin} is not an executable file")
    if not env.takes_vsix:
        return
    if not download.can_fetch(env.lingma_vsix):
        if not Path(env.lingma_vsix).is_file():
            raise SettingError(f"LINGMA_VSIX: {shown(env.lingma_vsix)} is neither a file nor an http(s) URL")
    elif why := download.refused(env.lingma_vsix, env.lingma_vsix_sha256):
        raise SettingError(f"LINGMA_VSIX: {why}")


def check_telemetry(env: Environment) -> None:
    """Refuse what sends nothing: nobody would see that neither spans nor errors arrive."""
    dsn = env.sentry_dsn.get_secret_value()
    if dsn and not _is_dsn(dsn):
        raise SettingError("SENTRY_DSN: it has another form than https://KEY@HOST/NUMBER")
    try:
        spans.are_wanted()
    except spans.UnknownExporter as exc:
        raise SettingError(str(exc)) from None


def _is_dsn(text: str) -> bool:
    try:
        dsn = urlsplit(text)
    except ValueError:
        return False
    return dsn.scheme in ("http", "https") and bool(dsn.username) and dsn.path.rpartition("/")[2].isdigit()


@contextlib.contextmanager
def own_data_dir(env: Environment) -> Iterator[Path]:
    """The data directory, made, writable and ours alone until the context ends or the process dies."""
    try:
        directory = env.data_dir.resolve()
        # Redis' socket and Django's settings need the path as text.
        str(directory).encode()
    except (OSError, RuntimeError):
        raise SettingError(f"DATA_DIR: {env.data_dir} leads nowhere: its links go round in a circle") from None
    except UnicodeError:
        raise SettingError(f"DATA_DIR: {os.fsencode(env.data_dir)!r} is not UTF-8; choose another name") from None
    try:
        directory.mkdir(mode=0o700, parents=True, exist_ok=True)
        # A lock of the kernel, not a file with a pid: it ends with the process, however that dies.
        lock = (directory / "supervisor.lock").open("w")
    except OSError as exc:
        raise SettingError(f"DATA_DIR: cannot write to {directory}: {exc.strerror}") from None
    with lock:
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            raise SettingError(f"DATA_DIR: another gateway is running on {directory}") from None
        except OSError as exc:
            raise SettingError(f"DATA_DIR: cannot lock {lock.name}: {exc.strerror}") from None
        try:
            # Under the lock, like all that writes here: another gateway may be at work until then.
            check_room(directory)
            empty(directory / "metrics")
        except OSError as exc:
            raise SettingError(f"DATA_DIR: cannot write to {directory}: {exc.strerror}") from None
        yield directory


def check_room(directory: Path, needed: int = FIRST_START_BYTES) -> None:
    """Refuse a first start that would fail half-way. Later ones write little, and can serve without."""
    if (directory / "static" / ".collected").exists():
        return
    free = shutil.disk_usage(directory).free
    if free < needed:
        raise SettingError(f"DATA_DIR: {directory} has room for {free >> 20} MiB, a first start needs {needed >> 20}")


def keep_private(env: Environment, data_dir: Path) -> list[str]:
    """Take away other users' rights that an earlier run, or somebody's `mkdir`, gave; return lines that report it."""
    sqlite = env.database_url.startswith("sqlite")
    # SQLite's file may lie outside of DATA_DIR, so it is checked by its own path.
    wide = private.exposed(data_dir, Path(unquote(urlsplit(env.database_url).path)[1:]) if sqlite else None)
    left = private.narrow(wide)
    lines = []
    if done := [path for path in wide if path not in left]:
        lines.append(f"DATA_DIR: others could read {_named(done)}; from now on only this user can")
    if left:
        lines.append(f"DATA_DIR: others can read {_named(left)}, not ours to change; let its owner chmod go-rwx it")
    return lines


def _named(paths: list[Path]) -> str:
    return f"{paths[0]} and {len(paths) - 1} more" if paths[1:] else str(paths[0])


def empty(directory: Path) -> None:
    """Make a directory, readable by us alone, without what an earlier run left in it."""
    shutil.rmtree(directory, ignore_errors=True)
    directory.mkdir(mode=0o700)


@contextlib.contextmanager
def listening(host: str, port: int) -> Iterator[list[socket.socket]]:
    """Bind the gateway's addresses. The web processes inherit them, so a restart of one loses no connection."""
    with contextlib.ExitStack() as bound:
        listeners, absent = [], ""
        for family, address in _addresses(host, port):
            try:
                listeners.append(bound.enter_context(_bound(family, address)))
            except OSError as exc:
                # A port in use is a mistake at any of the addresses; that the machine has no IPv6 is none while IPv4
                # works.
                if exc.errno not in ABSENT:
                    raise SettingError(f"PORT: cannot listen on {_shown(address)}: {exc.strerror}") from None
                absent = absent or f"HOST: cannot listen on {_shown(address)}: {exc.strerror}"
        if not listeners:
            raise SettingError(absent)
        yield listeners


def _addresses(host: str, port: int) -> list[tuple[socket.AddressFamily, Any]]:
    """All that a name means. `localhost` is both families, whatever the machine's hosts file maps it to."""
    found = []
    for each in LOOPBACK if host.lower() == "localhost" else (host,):
        try:
            found += socket.getaddrinfo(each, port, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE)
        except (OSError, UnicodeError) as exc:
            raise SettingError(f"HOST: cannot listen on {host}: {getattr(exc, 'strerror', exc)}") from None
    # Without doubles: a name may stand twice in the machine's list.
    return list(dict.fromkeys((family, address) for family, _, _, _, address in found))


def _bound(family: socket.AddressFamily, address: Any) -> socket.socket:
    listener = socket.socket(family, socket.SOCK_STREAM)
    try:
        # Else a restart fails for a minute, while connections of the run before are in TIME_WAIT.
        listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        if family == socket.AF_INET6:  # `::` is every address of both families, and no other means two
            listener.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, address[0] != "::")
        listener.bind(address)
        listener.listen(BACKLOG)
    except OSError:
        listener.close()
        raise
    return listener


def _shown(address: Any) -> str:
    host, port = address[:2]
    return f"[{host}]:{port}" if ":" in host else f"{host}:{port}"
