"""The service's own process: started with a work dir and ports of its own, watched, stopped (PROTOCOL 2)."""

from __future__ import annotations

import asyncio
import fcntl
import logging
import os
import signal
import socket
import sys
from collections.abc import Sequence
from contextlib import suppress
from pathlib import Path

import msgspec

from bridge.lingma.errors import StartFailed
from bridge.lingma.install import download
from bridge.lingma.process import ports
from gateway_project.lib.json_errors import UNREADABLE
from gateway_project.lib.processes import process_death

logger = logging.getLogger(__name__)

# A small script between us and the program: it has the kernel end the program when this process dies.
LAUNCHER = str(process_death.__file__)
STOP_SEC = 3.0
STOP_HUNG_SEC = 0.5  # a program that answers nothing gets no more
KILL_SEC = 5.0  # a process that waits for a disk is not ended by any signal; nobody waits for it
_PASSED_ON = (
    "PATH", "HOME", "USER", "LANG", "LC_ALL", "TZ", "TMPDIR", "HTTP_PROXY", "HTTPS_PROXY", "NO_PROXY",
    "http_proxy", "https_proxy", "no_proxy", "SSL_CERT_FILE", "SSL_CERT_DIR", "PYTHONPATH", "PYTHONDONTWRITEBYTECODE",
)  # fmt: skip


class _Info(msgspec.Struct):
    websocketPort: int  # noqa: N815  the protocol's spelling
    pid: int


class Process:
    """One run of the program. `exited` resolves to its exit code."""

    def __init__(
        self, child: asyncio.subprocess.Process, work_dir: Path, socket_port: int, http_port: int, lock: int
    ) -> None:
        """`lock`: a descriptor that holds the lock of the work dir; it is closed when the program has ended."""
        self.pid = child.pid
        self.work_dir = work_dir
        self.port = socket_port
        self.http_port = http_port
        self.url = f"ws://127.0.0.1:{socket_port}/"
        self.exited = asyncio.ensure_future(child.wait())
        self.exited.add_done_callback(lambda _: os.close(lock))
        self._child = child

    @classmethod
    async def start(
        cls,
        command: Sequence[str],
        work_dir: Path,
        extra: Sequence[str],
        variables: dict[str, str],
        sha256: str = "",
    ) -> Process:
        """Start `command` with its arguments (PROTOCOL 2.1) in a process group of its own. Raise StartFailed.

        `sha256`: the digest that the executable must have; "": any.
        """
        if sha256:
            await _check(Path(command[0]), sha256)
        work_dir.mkdir(mode=0o700, parents=True, exist_ok=True)  # noqa: ASYNC240  once per start, a local disk
        # Chosen anew for each run: those of the run before may be somebody else's by now. Before the lock, which would
        # be held for ever when there is no descriptor left to find a port with.
        socket_port, http_port = free_ports(2)
        lock = _lock(work_dir)
        arguments = [
            *command, "start", "--transportType=websocket", f"--workDir={work_dir}",
            f"--socketPort={socket_port}", f"--httpPort={http_port}", *extra,
        ]  # fmt: skip
        # `-I -S`: no site packages, so the launcher costs little time and no import of ours can break it.
        launcher = [sys.executable, "-I", "-S", LAUNCHER, str(int(signal.SIGKILL)), str(os.getpid())]
        try:
            child = await asyncio.create_subprocess_exec(
                # A session of its own is a process group of its own, so children of the program are ended with it.
                # Output goes nowhere: a pipe that nobody reads would block the program.
                *launcher, *arguments, env=_environment() | variables, start_new_session=True,
                stdin=asyncio.subprocess.DEVNULL, stdout=asyncio.subprocess.DEVNULL, stderr=asyncio.subprocess.DEVNULL,
            )  # fmt: skip
        except OSError as exc:
            os.close(lock)
            raise StartFailed(f"{command[0]}: {exc.strerror}") from exc
        except BaseException:
            os.close(lock)
            raise
        return cls(child, work_dir, socket_port, http_port, lock)

    async def holder(self) -> ports.Holder:
        """The holder of the program's port, as `ports.holder_of` has it: since its choice anybody could take it."""
        info = self._info()
        also = info.pid if info is not None and info.websocketPort == self.port else 0
        # In a thread: it reads /proc of every process on the host.
        holder = await asyncio.to_thread(ports.holder_of, self.port, self.pid, also)
        if holder == "unknown" and info is not None and not also:
            return "nobody"  # the file is of an earlier run, until this one has written its own
        return holder

    def _info(self) -> _Info | None:
        """What the program has written of itself, if it does (PROTOCOL 2.3)."""
        try:
            return msgspec.json.decode((self.work_dir / ".info.json").read_bytes(), type=_Info)
        except (OSError, *UNREADABLE):
            return None

    async def stop(self, *, hung: bool = False) -> None:
        """SIGINT, three seconds, SIGKILL to the whole group (PROTOCOL 2.4)."""
        if not self.exited.done():
            # SIGINT first, so that the service can write its state; a hung one gets half a second (PROTOCOL 2.4).
            self._signal(signal.SIGINT)
            self._signal(signal.SIGCONT)  # a process that is stopped (SIGSTOP) handles SIGINT only when it goes on
            await asyncio.wait({self.exited}, timeout=STOP_HUNG_SEC if hung else STOP_SEC)
        # Always, even if the program has ended: its children may live on.
        self.kill()
        await asyncio.wait({self.exited}, timeout=KILL_SEC)
        if not self.exited.done():
            logger.error("process %d does not end, not even killed", self.pid)

    def kill(self) -> None:
        self._signal(signal.SIGKILL)

    def _signal(self, number: signal.Signals) -> None:
        with suppress(ProcessLookupError, PermissionError):
            # The id of the group is that of the child, as it leads its session.
            os.killpg(self.pid, number)


def lock_of(work_dir: Path) -> Path:
    """The file that is locked while a program runs in a work dir. Beside it, as one is filled before it is used."""
    return work_dir.with_name(f"{work_dir.name}.lock")


def _lock(work_dir: Path) -> int:
    """Hold the work dir for one program: two would write over each other's login and sessions. Raise StartFailed."""
    path = lock_of(work_dir)  # which the kernel frees with this process
    try:
        lock = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
    except OSError as exc:
        raise StartFailed(f"{path}: {exc.strerror}") from exc
    try:
        fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError:
        os.close(lock)
        raise StartFailed(f"{work_dir} is used by another process; each needs a DATA_DIR of its own") from None
    return lock


async def _check(executable: Path, sha256: str) -> None:
    """Nothing is started that is not what was installed."""
    try:
        found = await asyncio.to_thread(download.digest_of, executable)  # tens of megabytes
    except OSError as exc:
        raise StartFailed(f"{executable}: {exc.strerror}; is this version installed on this machine?") from exc
    if found != sha256:
        raise StartFailed(f"{executable} is not what was installed: its SHA-256 is {found}")


def free_ports(count: int) -> list[int]:
    """Ports of 127.0.0.1 that nobody listens on right now."""
    with_sockets = [socket.socket() for _ in range(count)]
    try:
        # All are bound before any is closed, or the same port could come twice.
        for each in with_sockets:
            each.bind(("127.0.0.1", 0))
        return [each.getsockname()[1] for each in with_sockets]
    finally:
        for each in with_sockets:
            each.close()


def _environment() -> dict[str, str]:
    """What the program may see: none of the gateway's secrets are among it."""
    return {
        name: value
        for name, value in os.environ.items()
        if name in _PASSED_ON or name.startswith(("LINGMA_SIMULATOR_", "LC_"))
    }
