"""What the parts of a turn share: what the engine gives to every turn, and what belongs to one."""

from __future__ import annotations

from collections.abc import Callable

import msgspec

from bridge.chat.request import ChatRequest
from bridge.chat.tokens import Calibrations
from bridge.images.pipeline import ImagePipeline
from bridge.pool.pool import Pool
from bridge.turn.conversation import Conversation
from bridge.turn.long_work import LongWork
from bridge.turn.output import Stopwatch, TurnOutput
from bridge.turn.plan import TurnPlan
from bridge.turn.question import Question
from bridge.turn.record import TurnRecord


class EngineContext(msgspec.Struct, frozen=True):
    """Services and settings that all turns share."""

    pool: Pool
    images: ImagePipeline
    calibrations: Calibrations
    new_id: Callable[[], str]
    keepalive_sec: float
    long_work: LongWork = msgspec.field(default_factory=LongWork)


class TurnContext(msgspec.Struct, frozen=True):
    """One turn. It holds no reference to the engine's run of it: in a cycle, ended turns would pile up."""

    request: ChatRequest
    key: int
    plan: TurnPlan
    conversation: Conversation
    question: Question
    record: TurnRecord
    output: TurnOutput
    watch: Stopwatch
