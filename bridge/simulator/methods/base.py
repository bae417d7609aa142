"""What a method is: it gets the state, who calls, and the parameters, and returns the result or raises RpcError."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from bridge.simulator.protocol.peer import Peer
from bridge.simulator.state.service_state import ServiceState

Params = dict[str, Any]
Method = Callable[[ServiceState, Peer, Params], Any]
SILENCE = object()
"""The result of a request that gets no answer."""


def constant(value: Any) -> Method:
    """A method that answers the same to everybody."""
    return lambda state, peer, params: value
