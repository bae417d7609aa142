"""One real short chat through an instance: does the whole way work?"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable
from typing import NamedTuple

import msgspec

from bridge.chat.errors import ConnectionLost, GatewayError, NoPlan, Overloaded, RateLimited, UpstreamFailed
from bridge.lingma.dialects.base import Ask
from bridge.pool.instances.instance import Instance
from bridge.status.smoke import Behaviour, SmokeReport

WORD = "pong"
QUESTION = f"Answer with the one word {WORD}."
WITHIN_SEC = 60.0


class SmokeResult(msgspec.Struct):
    """How one instance fared; times in ms, None when there was no answer."""

    instance: str
    ok: bool
    first_token_ms: int | None = None
    total_ms: int | None = None
    error: str | None = None


class Smoke(NamedTuple):
    """The result, whether the service was only too busy to answer, and what it did if it was not.

    `has_no_plan`: the plan of its account is used up, so the login works.
    """

    result: SmokeResult
    is_busy: bool = False
    has_no_plan: bool = False
    behaviour: Behaviour = Behaviour.UNKNOWN

    def report(self, instance: Instance, before: SmokeReport | None) -> SmokeReport:
        """For operators; `before` is the last one."""
        result, failed = self.result, before.failed if before is not None else 0
        error = "" if result.ok else result.error or "it answered nothing"
        failed = 0 if result.ok else failed + (not self.is_busy)
        shown = self.behaviour, instance.version
        times = before.times + 1 if before is not None and (before.behaviour, before.version) == shown else 1
        return SmokeReport(
            time.time(), result.ok, result.total_ms, error[:500], failed, instance.version, self.behaviour, times
        )  # fmt: skip


def model_of(instance: Instance, wanted: str) -> str:
    """The model that it is asked for: operators may write a display name, and an account need not offer that one."""
    models = instance.account.models
    return (instance.model_key(wanted) if wanted else None) or (models[0].key if models else wanted)


async def smoke_chat(instance: Instance, model: str, new_id: Callable[[], str], within: float = WITHIN_SEC) -> Smoke:
    """Ask it, busy or not. Never raises for an instance that fails. No usage is counted."""
    result = SmokeResult(instance.name, ok=False)
    unknown = instance.incidents.unknown_pushes
    began = time.monotonic()
    # A session of its own, which nobody continues.
    ask = Ask(new_id(), new_id(), QUESTION, model)
    try:
        async with asyncio.timeout(within):
            turn = instance.ask(ask)
            try:
                while turn.end is None:
                    # drain may bring a keep-alive or reasoning; only text counts as the first token.
                    if await turn.drain() and result.first_token_ms is None and turn.text:
                        result.first_token_ms = round((time.monotonic() - began) * 1000)
            finally:
                # Timed out or cancelled: without a stop the service would write on (PROTOCOL 9.7).
                if turn.end is None:
                    instance.give_up(turn)
    except (GatewayError, TimeoutError) as exc:
        result.error = str(exc) or f"no answer within {within:.0f} s"
        return Smoke(result, isinstance(exc, TimeoutError | Overloaded))
    result.total_ms = round((time.monotonic() - began) * 1000)
    result.error = str(turn.end.error) if turn.end.error else None
    result.ok = result.error is None and bool(turn.text)
    if isinstance(turn.end.error, RateLimited):
        return Smoke(result, is_busy=True)
    strange = instance.incidents.unknown_pushes > unknown
    behaviour = _behaviour(turn.text, turn.end.error, strange=strange)
    return Smoke(result, has_no_plan=isinstance(turn.end.error, NoPlan), behaviour=behaviour)


def _behaviour(text: str, error: GatewayError | None, *, strange: bool) -> Behaviour:
    if error is not None:
        # A connection that was lost, or an account that may not chat, says nothing of how the service behaves.
        failed = isinstance(error, UpstreamFailed) and not isinstance(error, ConnectionLost)
        return Behaviour.FAILS if failed else Behaviour.UNKNOWN
    if not text.strip():
        return Behaviour.SILENT
    if strange:
        return Behaviour.UNKNOWN_MESSAGES
    return Behaviour.AS_ASKED if WORD in text.lower() else Behaviour.OTHER_WORDS
