"""The clients that are connected."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import msgspec

from bridge.simulator.process.context import Context
from bridge.simulator.protocol.messages import Message
from bridge.simulator.protocol.peer import Peer
from bridge.simulator.protocol.push_framing import Framing


class Clients:
    """`handle` gets each request; `framing` makes the plain framing of a WebSocket (True) or of a stream."""

    def __init__(
        self, context: Context, handle: Callable[[Peer, Message], None], framing: Callable[[bool], Framing]
    ) -> None:
        self.context, self.handle, self.framing = context, handle, framing
        self.peers: set[Peer] = set()

    def join(self, *, websocket: bool) -> Peer:
        """Count a new connection, and make its peer."""
        counts = self.context.counts
        counts.connections += 1
        peer = Peer(self.context, counts.connections, self.handle, self.framing(websocket), websocket=websocket)
        self.peers.add(peer)
        return peer

    def leave(self, peer: Peer) -> None:
        """Forget a peer. Its turns go on (PROTOCOL 5.2)."""
        peer.lost()
        self.peers.discard(peer)

    def broadcast(self, method: str, params: dict[str, Any]) -> None:
        """Push to every client that has initialized."""
        # One that has not initialized is no client yet.
        listening = [peer for peer in self.peers if peer.initialized]
        self.context.log.write(f"broadcast(call) method: {method}, {len(listening)} clients")
        for peer in listening:
            peer.push(method.encode(), msgspec.json.encode(params))

    def expire(self) -> None:
        """Give up on acknowledgements that are late, and on clients that have sent nothing for long."""
        options, now = self.context.controls.service, self.context.loop.time()
        before = now - options.ack_timeout_ms / 1000
        for peer in list(self.peers):
            peer.expire(before)
        if idle := options.idle_sec:
            # A list first: closing takes the peer out of the set.
            for peer in [peer for peer in self.peers if peer.received_at < now - idle]:
                peer.outlet.close(False)

    def follow_controls(self, *, kicked: bool) -> None:
        """The options of turns have changed; `kicked` ends every connection."""
        for peer in list(self.peers):
            # Turns that run keep theirs: it may hold messages back.
            peer.framing = self.framing(peer.websocket)
            if kicked:
                peer.outlet.drop()

    def close(self) -> None:
        """Close every connection with a closing handshake."""
        for peer in list(self.peers):
            peer.outlet.close(False)
