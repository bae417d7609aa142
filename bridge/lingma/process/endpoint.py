"""Where a service listens: given as a URL, or found in its `.info.json` (PROTOCOL 2.3)."""

from __future__ import annotations

from pathlib import Path
from urllib.parse import unquote, urlsplit

import msgspec

from bridge.lingma.errors import StartFailed
from bridge.lingma.process import ports
from gateway_project.lib.json_errors import UNREADABLE


class _Info(msgspec.Struct):
    websocketPort: int  # noqa: N815  the protocol's spelling
    pid: int = 0


class _MachineToken(msgspec.Struct):
    token: str


class Identity(msgspec.Struct, frozen=True):
    """One process of this host: ids are given again, but not with the same start (clock ticks since boot)."""

    pid: int
    started: int


class Endpoint(msgspec.Struct, frozen=True):
    """A WebSocket URL, the work dir behind it when known, and the headers to dial with."""

    url: str
    work_dir: Path | None = None
    headers: dict[str, str] = {}
    pid: int = 0
    """Of the service, from its `.info.json`; 0: not known."""

    @property
    def urls(self) -> tuple[str, ...]:
        """The addresses to dial, in this order: some editions listen on `/ws` only (PROTOCOL 4.1)."""
        parts = urlsplit(self.url)
        return (self.url,) if parts.path.strip("/") else (self.url, f"{parts.scheme}://{parts.netloc}/ws")

    def identity(self) -> Identity | None:
        """The process that listens there, if it is the one that says so: its sessions live as long as it does.

        A file may come out of a container, where ids mean something else, and a port may lead through a tunnel.
        """
        port = urlsplit(self.url).port
        started = ports.held_since(port, self.pid) if port and self.pid else None
        return Identity(self.pid, started) if started is not None else None

    @classmethod
    def find(cls, where: str) -> Endpoint:
        """Read afresh for every connection: ports change with the service. Raise StartFailed.

        `where` is `ws://host:port/…`, `wss://host/…`, or the path (or `file://` URL) of a work dir or its `.info.json`.
        """
        parts = urlsplit(where)
        if parts.scheme in {"ws", "wss"}:
            return cls(where)
        # The file outlives a crash (PROTOCOL 2.3), so nothing here proves that the service lives: the dial does.
        info = Path(unquote(parts.path) if parts.scheme == "file" else where)
        try:
            path = info.expanduser()
            # It raises most errors of the disk, too: all but those of a path that is not there.
            info = path if path.is_file() else path / ".info.json"
            found = msgspec.json.decode(info.read_bytes(), type=_Info)
        # RuntimeError: there is no such home. ValueError: no name of a file at all.
        except (OSError, RuntimeError, ValueError, *UNREADABLE) as exc:
            raise StartFailed(f"{info}: {exc}") from exc
        return cls(f"ws://127.0.0.1:{found.websocketPort}/", info.parent, _headers(info.parent), found.pid)


def _headers(work_dir: Path) -> dict[str, str]:
    """The machine token, if there is one: a client of Qoder CN sends it, other services need none (PROTOCOL 4.1)."""
    try:
        stored = msgspec.json.decode((work_dir / "cache" / "machine_token.json").read_bytes(), type=_MachineToken)
    except (OSError, *UNREADABLE):
        return {}
    return {"Cosy-MachineToken": stored.token}
