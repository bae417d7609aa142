"""The way of a stream's events to its client on which nothing is awaited."""

from __future__ import annotations

from bridge.turn.output import Batch
from bridge.wire.format import Encoder
from gateway_project.lib.asgi_extensions import PieceWriter


class DirectWriter:
    """Events to bytes, and these to the transport. See `turn/output.Direct`."""

    __slots__ = ("_encode", "_encode_text", "_write", "flow")

    def __init__(self, encoder: Encoder, writer: PieceWriter) -> None:
        self.flow = writer.flow
        self._encode = encoder.feed
        self._encode_text = encoder.text
        self._write = writer.write_piece

    def write(self, batch: Batch) -> None:
        self._write(self._encode(batch))

    def write_text(self, text: str) -> None:
        self._write(self._encode_text(text))
