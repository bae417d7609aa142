"""What an instance's account is and offers (PROTOCOL 6.5)."""

from __future__ import annotations

import time
from collections.abc import Awaitable, Callable, Mapping

from bridge.lingma.dialects.base import AccountFacts, Call, Dialect, Model

Rpc = Callable[[Call], Awaitable[bytes]]


def key_of(name: str, names: Mapping[str, str]) -> str | None:
    """The key of the model a client names by its key or its display name; `names` are an account's."""
    return names.get(name) or names.get(name.lower())


class Account:
    """As it was read last. Models are read again with `reload`, or `refresh` seconds after they were."""

    def __init__(self, dialect: Dialect, refresh: float) -> None:
        self.facts = AccountFacts()
        self.models: list[Model] = []
        self.model_names: dict[str, str] = {}
        """Keys and display names, these in lower case, to keys."""
        self.facts_at = float("-inf")
        """When the facts were asked for, on the monotonic clock."""
        self.failed_reads = 0
        """Attempts in a row to read it that failed."""
        self._dialect = dialect
        self._refresh = refresh
        self._read_at = float("-inf")

    @property
    def may_chat(self) -> bool:
        return self.facts.state.may_chat

    async def read(self, rpc: Rpc, *, reload: bool) -> None:
        asked_at = time.monotonic()
        status = await rpc(self._dialect.login_status())
        # Set before the models are read: if that fails, the next read reads them again all the same (`mark_stale`).
        was, self.facts = self.facts.state, self._dialect.account_of(status)
        self.facts_at = asked_at
        # What a push says is not trusted: it only makes us ask (PROTOCOL 7.5).
        if reload or self.facts.state != was or time.monotonic() - self._read_at >= self._refresh:
            self.mark_stale()
            await self._read_models(rpc)

    def forget(self) -> None:
        """The service starts with another login."""
        self.facts, self.facts_at = AccountFacts(), float("-inf")

    def mark_stale(self) -> None:
        """The models are read at the next opportunity."""
        self._read_at = float("-inf")

    async def _read_models(self, rpc: Rpc) -> None:
        dialect = self._dialect
        self.models = dialect.models_of(await rpc(dialect.list_models())) if self.facts.state.may_chat else []
        self._read_at = time.monotonic()
        # Keys are added last, so that a display name never hides the key of another model.
        self.model_names = {(model.display_name or model.key).lower(): model.key for model in self.models}
        self.model_names |= {model.key: model.key for model in self.models}
