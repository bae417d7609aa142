"""What an instance's account is and offers (PROTOCOL 6.5)."""

from __future__ import annotations

import time
from collections.abc import Awaitable, Callable, Mapping
from typing import Any

from bridge.lingma.dialects import dialect_a
from bridge.lingma.dialects.dialect_a import Model

Rpc = Callable[[str, dict[str, Any]], Awaitable[bytes]]
"""A method and its params to the raw result."""


def key_of(name: str, names: Mapping[str, str]) -> str | None:
    """The key of the model a client names by its key or its display name; `names` are an account's."""
    return names.get(name) or names.get(name.lower())


class Account:
    """As it was read last. Models are read again when there is news, or `refresh` seconds after they were."""

    def __init__(self, refresh: float) -> None:
        self.logged_in = False
        self.models: list[Model] = []
        self.model_names: dict[str, str] = {}
        """Keys and display names, these in lower case, to keys."""
        self._refresh = refresh
        self._read_at = float("-inf")

    async def read(self, rpc: Rpc, *, news: bool) -> None:
        """Ask the service. Raise what `rpc` raises, or DecodeError."""
        status = dialect_a.decode_auth_status(await rpc(dialect_a.AUTH_STATUS, {}))
        was, self.logged_in = self.logged_in, status.logged_in
        if news or self.logged_in != was or time.monotonic() - self._read_at >= self._refresh:
            self.doubt()
            await self._read_models(rpc)

    def doubt(self) -> None:
        """The models are read at the next opportunity."""
        self._read_at = float("-inf")

    async def _read_models(self, rpc: Rpc) -> None:
        self.models = dialect_a.models_of(await rpc(dialect_a.QUERY_MODELS, {})) if self.logged_in else []
        self._read_at = time.monotonic()
        self.model_names = {(model.displayName or model.key).lower(): model.key for model in self.models}
        self.model_names |= {model.key: model.key for model in self.models}
