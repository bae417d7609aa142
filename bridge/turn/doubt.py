"""One turn's part in exits of the service: whether it may be asked at all, how carefully, and whether once more."""

from __future__ import annotations

import asyncio
from collections.abc import Coroutine
from math import ceil
from time import time
from typing import Any

from bridge.chat.errors import CrashingKey, CrashingPrompt
from bridge.chat.request import ChatRequest
from bridge.lingma.stream import ReplyStream
from bridge.pool.crashes import Care, Crashes, CrashRecord, care_of, name_of
from bridge.pool.lease import AnyInstance
from bridge.telemetry import metrics
from bridge.turn.plan import TurnPlan

MOST_EXITS = 2
"""A turn that was there so often is not tried again, whoever is to blame."""
TOLD_SEC = 0.5
"""After an exit all turns that were lost with it have told what they were by then, those of other processes too."""
GIVEN_UP_SEC = 1.0
"""So long the service may still exit over a question that nobody wants answered any more."""


class Doubt:
    """The suspicion against one turn; only made when there may be one."""

    def __init__(self, crashes: Crashes, key: int, request: ChatRequest, plan: TurnPlan, model: str) -> None:
        self.care: Care = 0
        self._crashes = crashes
        self._key = key
        self._request = request
        self._plan = plan
        self._model = model
        self._cached_name = ""
        self._was_known = False
        """There was a record of the prompt: without one it is cleared, and not one whose record is still to come."""
        self.exits = 0
        """That the turn was there at, in other processes too."""

    def recall(self) -> None:
        """Look up what is remembered of the prompt and the key. Raise CrashingPrompt or CrashingKey if it must not be
        asked.
        """
        # The quick test, before a digest of the whole prompt is made.
        if not self._crashes.has_any_of(self._key):
            if self._was_known:
                self.care = 0
            return
        # Wall time: what is known of crashes is shared between processes.
        now = time()
        record = self._crashes.judged(self.name(), now)
        # The prompt first: "change it" helps the client more than "wait".
        if record is not None and record.proven:
            metrics.CRASHES.labels("refused").inc()
            raise CrashingPrompt
        if seconds := self._crashes.spent_for(self._key, now):
            metrics.CRASHES.labels("refused").inc()
            raise CrashingKey(retry_after=ceil(seconds))
        self._settle(record)

    def _settle(self, record: CrashRecord | None) -> None:
        self.care = care_of(record)
        self._was_known = self._was_known or record is not None

    @property
    def may_try(self) -> bool:
        return self.exits < MOST_EXITS

    async def lost(self, instance: AnyInstance, generation: int, stream: ReplyStream | None) -> bool:
        """The turn was lost; maybe with more than its connection. Whether the service has exited over its prompt."""
        # None: only the connection broke, and no prompt is to blame.
        ended = await instance.exit_of(generation)
        if ended is None:
            return False
        # Counted for the turn itself too: it stops trying even where no blame is settled.
        self.exits += 1
        alone = stream is not None and ended.only == stream.request_id
        # Who kills a service from outside may do so often; a prompt that is too large is proven in the end.
        weighs = alone and not ended.killed
        # One process has one exit, however many turns were lost with it.
        which = f"{instance.name}:{generation}"
        tells = stream is not None and not stream.has_begun and not ended.killed and not ended.shared
        record = self._crashes.exited(self.name(), which, alone=alone, weighs=weighs, tells=tells, now=time())
        _counted(record)
        self._settle(record)
        return record.proven

    async def judged(self) -> bool:
        """True where the exits that the turn was there at have nothing in common but its prompt. Takes TOLD_SEC."""
        await asyncio.sleep(TOLD_SEC)
        record = self._crashes.judged(self.name(), time())
        return record is not None and record.proven

    def given_up(self, instance: AnyInstance, generation: int, stream: ReplyStream) -> Coroutine[Any, Any, None]:
        """Its client has gone. Who hangs up in time leaves no less behind than who waits; the request is let go of."""
        # The values and not `self`: this coroutine outlives the turn, and must not keep its request alive.
        turn = instance, generation, stream.request_id
        return _watch(self._crashes, self.name(), *turn, has_begun=stream.has_begun, in_doubt=bool(self.care))

    def answered(self) -> None:
        if self.care:
            self._crashes.answered(self.name())

    def name(self) -> str:
        """Of all that reaches the model. It takes a while for a long prompt: no turn without doubt needs it."""
        if not self._cached_name:
            request, plan = self._request, self._plan
            # All that reaches the model counts: the same question with other tools is another prompt.
            tools = (request.tools, request.tool_choice, request.parallel_tool_calls)
            notation = request.tool_notation if plan.forwards else ""
            put = (self._model, plan.mode, plan.profile, plan.emulates, notation)
            self._cached_name = name_of(self._key, request.messages, request.reply_schema, tools, put)
        return self._cached_name


async def _watch(
    crashes: Crashes,
    name: str,
    instance: AnyInstance,
    generation: int,
    request_id: str,
    *,
    has_begun: bool,
    in_doubt: bool,
) -> None:
    """It weighs only where nothing else can have been the reason, and where it was never seen to be answered."""
    # An exit may come a moment after the client has gone; a quick hang-up must not hide it.
    await asyncio.sleep(GIVEN_UP_SEC)
    ended = await instance.exit_of(generation)
    if ended is not None:
        alone = ended.only == request_id
        weighs = alone and not has_begun and not ended.has_begun and not ended.killed
        which = f"{instance.name}:{generation}"
        _counted(crashes.exited(name, which, alone=False, weighs=weighs, now=time()))
    # It lives and has begun to answer, so the prompt is harmless.
    elif in_doubt and has_begun:
        crashes.answered(name)


def _counted(record: CrashRecord) -> None:
    metrics.CRASHES.labels("proven" if record.proven else "suspected").inc()
