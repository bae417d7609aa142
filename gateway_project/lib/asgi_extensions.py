"""What our server offers to applications beyond ASGI."""

from typing import Any, Final, Protocol

WHOLE: Final = "http.response.whole"
"""Of the scope's `extensions`: `http.response.start` may have the `body`, which is the whole answer then."""
OFFERED: Final[dict[str, dict[Any, Any]]] = {WHOLE: {}}
SAME_HEAD: Final = "same_head"
"""Of the scope: a dict for what the application works out from a head. Equal heads of a connection share it."""
WRITER: Final = "writer"
"""Of an `http.response.start` that was sent and begins a stream: its `PieceWriter`."""


class Flow(Protocol):
    """How a client takes what is sent to it."""

    write_paused: bool
    """Too much of it waits: the client has to be waited for."""


class PieceWriter(Protocol):
    """Writes pieces of a stream at once, for whoever does not want to wait, or to make a message of each."""

    @property
    def flow(self) -> Flow:
        """To be looked at first: a client that is behind gets its pieces by `send`, which waits for it."""

    def write_piece(self, body: bytes) -> None:
        """Write it; no last one."""
