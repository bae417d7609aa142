"""Where a service listens: given as a URL, or found in its `.info.json` (lingma-protocol 2.3)."""

from __future__ import annotations

from pathlib import Path
from urllib.parse import urlsplit

import msgspec

from bridge.lingma.process import StartFailed


class _Info(msgspec.Struct):
    websocketPort: int  # noqa: N815  the protocol's spelling


class _MachineToken(msgspec.Struct):
    token: str


class Endpoint(msgspec.Struct, frozen=True):
    """A WebSocket URL, the work dir behind it when known, and the headers to dial with."""

    url: str
    work_dir: Path | None = None
    headers: dict[str, str] = {}

    @property
    def urls(self) -> tuple[str, ...]:
        """What to dial, in order: some editions listen on `/ws` only (4.1)."""
        parts = urlsplit(self.url)
        return (self.url,) if parts.path.strip("/") else (self.url, f"ws://{parts.netloc}/ws")

    @classmethod
    def find(cls, where: str) -> Endpoint:
        """Read afresh for every connection: ports change with the service. Raise StartFailed.

        `where` is `ws://host:port/…`, or the path (or `file://` URL) of a work dir or of its `.info.json`.
        """
        parts = urlsplit(where)
        if parts.scheme == "ws":
            return cls(where)
        path = Path(parts.path if parts.scheme == "file" else where).expanduser()
        info = path if path.is_file() else path / ".info.json"
        try:
            port = msgspec.json.decode(info.read_bytes(), type=_Info).websocketPort
        except (OSError, msgspec.DecodeError) as exc:
            raise StartFailed(f"{info}: {exc}") from exc
        return cls(f"ws://127.0.0.1:{port}/", info.parent, _headers(info.parent))


def _headers(work_dir: Path) -> dict[str, str]:
    """4.1: one client of the desktop edition always sends the machine token; nobody minds it."""
    try:
        kept = msgspec.json.decode((work_dir / "cache" / "machine_token.json").read_bytes(), type=_MachineToken)
    except (OSError, msgspec.DecodeError):
        return {}
    return {"Cosy-MachineToken": kept.token}
