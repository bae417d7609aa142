"""What must be ours before anything starts: the data directory, its lock, the listening socket."""

import contextlib
import fcntl
import os
import shutil
import socket
from collections.abc import Iterator
from pathlib import Path
from urllib.parse import unquote, urlsplit

from bridge import private
from bridge.lingma import download
from bridge.lingma.urls import shown
from gateway_project.env import Environment, SettingError

BACKLOG = 2048


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


@contextlib.contextmanager
def own_data_dir(env: Environment) -> Iterator[Path]:
    """The data directory, made, writable and ours alone until the context ends or the process dies."""
    directory = env.data_dir.resolve()
    try:
        directory.mkdir(mode=0o700, parents=True, exist_ok=True)
        lock = (directory / "supervisor.lock").open("w")
        empty(directory / "metrics")
    except OSError as exc:
        raise SettingError(f"DATA_DIR: cannot write to {directory}: {exc.strerror}") from None
    with lock:
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError:
            raise SettingError(f"DATA_DIR: another gateway is running on {directory}") from None
        yield directory


def keep_private(env: Environment, data_dir: Path) -> list[str]:
    """Shut out other users of this machine where an earlier run, or somebody's `mkdir`, let them in; what was done."""
    sqlite = env.database_url.startswith("sqlite")
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
    """Make a directory, without what an earlier run left in it."""
    shutil.rmtree(directory, ignore_errors=True)
    directory.mkdir(mode=0o700)


def listen(host: str, port: int) -> socket.socket:
    """Bind the gateway's address. The web processes inherit it, so a restart of one loses no connection."""
    try:
        family, kind, _, _, address = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)[0]
    except OSError as exc:
        raise SettingError(f"HOST: cannot listen on {host}: {exc.strerror}") from None
    listener = socket.socket(family, kind)
    listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    try:
        listener.bind(address)
        listener.listen(BACKLOG)
    except OSError as exc:
        listener.close()
        raise SettingError(f"PORT: cannot listen on {host}:{port}: {exc.strerror}") from None
    return listener
