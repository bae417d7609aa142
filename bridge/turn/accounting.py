"""What a turn has cost: tokens and outcomes of calls, for its record and for the client."""

from __future__ import annotations

from bridge.chat.events import TokenUsage
from bridge.chat.request import ChatRequest
from bridge.chat.tokens import Calibrations, estimate, estimate_messages
from bridge.lingma.dialects.base import LoggedUsage
from bridge.lingma.stream import ReplyStream
from bridge.reply.reader import Reader
from bridge.turn.limits import ReplyLimits
from bridge.turn.plan import TurnPlan
from bridge.turn.record import TurnRecord
from gateway_project.lib.token_sources import TokenSource

AROUND_CALL = estimate('<call:0123456789>{"name":"","arguments":}</call:0123456789>\n')
"""Tokens that a model writes for a call beside the tool's name and its arguments."""
NOT_SENT = {"refused", "retried"}
"""Outcomes of calls that cost tokens and were not sent."""


class Accounting:
    """The books of one attempt. Lingma's own figures count where its log has them, else calibrated estimates."""

    def __init__(
        self, request: ChatRequest, key: int, plan: TurnPlan, record: TurnRecord, calibrations: Calibrations
    ) -> None:
        self.corrected: LoggedUsage | None = None
        """Figures of the reply that had to be corrected."""
        self._request = request
        self._key = key
        self._plan = plan
        self._record = record
        self._calibrations = calibrations
        self._calibration = calibrations.of(key)

    def count_prompt(self) -> None:
        """The prompt counts from the moment it was sent, also when nothing comes of it, or nobody waits for that."""
        record = self._record
        # Once in a turn: by the limits, or by its first attempt.
        if not record.estimated:
            request = self._request
            record.estimated = estimate_messages(request.messages, request.tools, request.reply_schema)
        record.prompt_tokens = self._calibration.input.apply(record.estimated)
        record.usage_source = "partial"  # until the reply has ended

    def close(
        self, stream: ReplyStream, reader: Reader, limits: ReplyLimits | None, logged: LoggedUsage | None,
        *, broke_off: bool,
    ) -> TokenUsage:  # fmt: skip
        """Write tokens and calls into the record."""
        record = self._record
        if stream.decisions:
            record.decisions += map(str, stream.decisions)
            stream.decisions.clear()
        record.tool_outcomes = outcomes = reader.outcomes
        thinking = self._plan.thinking
        if limits is None:
            text_tokens, reasoning = estimate(reader.text), estimate(reader.reasoning)
        else:
            is_cut = limits.cutter.reason is not None and thinking
            text_tokens = estimate("".join(limits.text))
            reasoning = estimate("".join(limits.reasoning) if is_cut else reader.reasoning)
        guess = text_tokens + reasoning + (self._call_tokens(reader, limits) if reader.calls else 0)
        if logged is not None:
            calibration = self._calibrations.learning(self._key)
            calibration.input.learn(record.estimated, logged.prompt_tokens)
            if not reader.calls and not outcomes.keys() & NOT_SENT:  # JSON has other words than text
                calibration.output.learn(guess, logged.completion_tokens)
            spent = [logged, self.corrected] if self.corrected is not None else [logged]
            record.prompt_tokens = sum(each.prompt_tokens for each in spent)
            record.completion_tokens = sum(each.completion_tokens for each in spent)
            source: TokenSource = "upstream"
        else:
            source = "partial" if broke_off else "estimate"
            output = self._calibration.output
            record.completion_tokens = output.apply(guess)
            if (limit := self._request.max_tokens) is not None:  # it has cut text and reasoning, and nothing else
                cut = text_tokens + reasoning if thinking else text_tokens
                record.completion_tokens -= max(0, output.apply(cut) - limit)
        record.usage_source = source
        reasoning_tokens = min(reasoning, record.completion_tokens) if thinking else 0
        return TokenUsage(record.prompt_tokens, record.completion_tokens, source, reasoning_tokens)

    def _call_tokens(self, reader: Reader, limits: ReplyLimits | None) -> int:
        """Tokens of calls that were sent, as the model wrote them: what stands around them it has written too."""
        if limits is None:
            parts, sent = [*(name for _, name in reader.calls), reader.arguments], len(reader.calls)
        else:
            parts, sent = limits.calls, limits.calls_begun
        return estimate("".join(parts)) + (AROUND_CALL * sent if self._plan.emulates else 0)
