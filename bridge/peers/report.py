"""What web processes tell each other of themselves, through Redis."""

from __future__ import annotations

import msgspec


class PeerReport(msgspec.Struct, frozen=True, omit_defaults=True):
    """One web process: who it is, where others reach it, and what it has."""

    name: str
    """`web-1`; where several machines share one Redis, with the machine before it."""
    run: str
    """This start of it."""
    node: str
    """The name of its machine."""
    at: float
    """Unix seconds by its clock."""
    socket: str = ""
    """The path of its unix socket, for the processes of its machine; "": it listens on none."""
    url: str = ""
    """Where those of other machines reach it, such as `https://10.0.0.5:8400`; "": nowhere."""
    instances: dict[str, int] = {}
    """Those that take turns, and in which generation each is."""
    free: int = 0
    """Places that a turn could take at once; nobody waits for them."""


encode = msgspec.json.Encoder().encode
_decode = msgspec.json.Decoder(PeerReport).decode


def decoded(report: bytes) -> PeerReport | None:
    """None for that of another version, as there may be one during an update."""
    try:
        return _decode(report)
    except msgspec.MsgspecError:
        return None
