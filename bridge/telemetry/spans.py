"""A span for each turn, as OpenTelemetry has them: only where its own variables say where spans go.

Attributes have the names of the semantic conventions for generative AI where there is one, `lingma.*` else. Nothing of
prompts, answers or arguments of tools is in a span.
"""

from __future__ import annotations

import asyncio
import os
import threading
from collections.abc import Mapping
from contextlib import suppress
from typing import TYPE_CHECKING, Any, Final

from accounts.ledger.row import UsageRow
from accounts.ledger.trace import Trace
from bridge.version import VERSION

if TYPE_CHECKING:
    from opentelemetry.trace import Span

ENDPOINTS: Final = ("OTEL_EXPORTER_OTLP_TRACES_ENDPOINT", "OTEL_EXPORTER_OTLP_ENDPOINT")
PROTOCOLS: Final = ("OTEL_EXPORTER_OTLP_TRACES_PROTOCOL", "OTEL_EXPORTER_OTLP_PROTOCOL")
FLUSH_SEC: Final = 5
PROVIDER: Final = "lingma"
"""`gen_ai.provider.name`: the conventions have no name of their own for it."""


class UnknownExporter(ValueError):
    """The variables ask for something that is not built in."""


def are_wanted(environ: Mapping[str, str] = os.environ) -> bool:
    """Whether OpenTelemetry's variables say where spans go. Raise UnknownExporter where they ask for another way."""
    if environ.get("OTEL_SDK_DISABLED", "").strip().lower() == "true" or not any(map(environ.get, ENDPOINTS)):
        return False
    # An empty one counts as one that is not set, as the specification has it.
    exporter = environ.get("OTEL_TRACES_EXPORTER", "").strip() or "otlp"
    if exporter not in ("otlp", "none"):
        raise UnknownExporter(f"OTEL_TRACES_EXPORTER: {exporter!r} is not built in; use otlp or none.")
    if exporter == "none":  # then no protocol is spoken
        return False
    protocol = next(filter(None, map(environ.get, PROTOCOLS)), "http/protobuf")
    if protocol != "http/protobuf":
        raise UnknownExporter(f"{PROTOCOLS[1]}: {protocol!r} is not built in; use http/protobuf.")
    return True


class TurnSpan:
    """The span of a turn that runs. `trace_id` is hexadecimal, `traceparent` a header."""

    __slots__ = ("_span", "trace_id", "traceparent")

    def __init__(self, span: Span) -> None:
        self._span = span
        context = span.get_span_context()
        self.trace_id = f"{context.trace_id:032x}"
        flags = context.trace_flags
        self.traceparent = f"00-{self.trace_id}-{context.span_id:016x}-{flags:02x}".encode()

    def end(self, row: UsageRow, trace: Trace) -> None:
        """With what its row and its trace have."""
        span, began = self._span, round(row.started_at * 1e9)
        if not span.is_recording():
            return
        span.update_name(f"chat {row.model}".rstrip())
        span.set_attributes(_attributes(row, trace))
        for name, ms, attributes in _events(row, trace):
            span.add_event(name, attributes, began + ms * 1_000_000)
        if row.status == "error":
            from opentelemetry.trace import Status, StatusCode

            span.set_status(Status(StatusCode.ERROR, row.reason))
        span.end(began + row.total_ms * 1_000_000)


class Spans:
    """Makes spans, and sends them in a thread of its own; what piles up beyond the library's bound is dropped."""

    def __init__(self, process_name: str, node: str) -> None:
        # 15 MB and most of a second, which nobody pays who does not want spans.
        from opentelemetry.exporter.otlp.proto.http.trace_exporter import OTLPSpanExporter
        from opentelemetry.sdk.resources import OTELResourceDetector, Resource
        from opentelemetry.sdk.trace import TracerProvider
        from opentelemetry.sdk.trace.export import BatchSpanProcessor
        from opentelemetry.trace import SpanKind
        from opentelemetry.trace.propagation.tracecontext import TraceContextTextMapPropagator

        instance = f"{node}-{process_name}" if node else process_name
        ours = {"service.name": "lingma-gateway", "service.version": VERSION, "service.instance.id": instance}
        # What OTEL_SERVICE_NAME and OTEL_RESOURCE_ATTRIBUTES say wins.
        resource = Resource.create(ours | dict(OTELResourceDetector().detect().attributes))
        self._ids = _request_ids()
        self._provider = TracerProvider(resource=resource, id_generator=self._ids, shutdown_on_exit=False)
        self._provider.add_span_processor(BatchSpanProcessor(OTLPSpanExporter()))
        self._tracer = self._provider.get_tracer("lingma-gateway", VERSION)
        self._propagator = TraceContextTextMapPropagator()
        self._kind = SpanKind.SERVER

    def begin(self, request_id: str, headers: Mapping[bytes, bytes], started_at: float) -> TurnSpan:
        """`request_id`: its 32 hexadecimal digits, which are the trace's where the client names none."""
        self._ids.of = request_id
        carrier = {
            name: value.decode("latin-1")
            for name in ("traceparent", "tracestate")
            if (value := headers.get(name.encode()))
        }
        context = self._propagator.extract(carrier)
        return TurnSpan(self._tracer.start_span("chat", context, self._kind, start_time=round(started_at * 1e9)))

    async def close(self) -> None:
        """Send what is left, for some seconds at most."""
        loop, done = asyncio.get_running_loop(), asyncio.Event()

        def shut() -> None:
            self._provider.shutdown()
            with suppress(RuntimeError):  # nobody waits any more
                loop.call_soon_threadsafe(done.set)

        # A thread that the end of the process does not wait for: the exporter tries again for as long as it likes.
        threading.Thread(target=shut, name="spans", daemon=True).start()
        with suppress(TimeoutError):
            async with asyncio.timeout(FLUSH_SEC):
                await done.wait()


def _request_ids() -> Any:
    from opentelemetry.sdk.trace.id_generator import IdGenerator

    class RequestIds(IdGenerator):
        """Ids made of the request's: two processes that have one turn in turn give it the same."""

        of = ""

        def generate_trace_id(self) -> int:
            return int(self.of, 16) or 1

        def generate_span_id(self) -> int:
            return int(self.of[16:], 16) or 1

    return RequestIds()


def _attributes(row: UsageRow, trace: Trace) -> dict[str, Any]:
    found = {
        "gen_ai.operation.name": "chat",
        "gen_ai.provider.name": PROVIDER,
        "gen_ai.request.model": row.model,
        "gen_ai.response.model": row.lingma_model,
        "gen_ai.response.finish_reasons": [row.reason] if row.status == "ok" else None,
        "gen_ai.usage.input_tokens": row.prompt_tokens if row.usage_source else None,
        "gen_ai.usage.output_tokens": row.completion_tokens if row.usage_source else None,
        "error.type": row.reason if row.status in ("error", "refused") else None,
        "http.route": row.endpoint,
        "client.address": row.client,
        "lingma.request_id": row.request_id,
        "lingma.api_key_id": row.api_key_id,
        "lingma.team_id": row.team_id,
        "lingma.protocol": row.protocol,
        "lingma.client_app": row.agent,
        "lingma.stream": row.stream,
        "lingma.status": row.status,
        "lingma.reason": row.reason,
        "lingma.instance": row.instance,
        "lingma.session": row.session,
        "lingma.queue_ms": row.queue_ms,
        "lingma.first_token_ms": row.first_token_ms,
        "lingma.tokens_from": row.usage_source,
        "lingma.attempts": 1 + len(trace.lost) if row.instance else None,
        "lingma.limit.scope": row.limit_scope,
        "lingma.handed_over_by": trace.by,
    }
    return {name: value for name, value in found.items() if value not in (None, "")}


def _events(row: UsageRow, trace: Trace) -> list[tuple[str, int, dict[str, Any]]]:
    """Name, milliseconds since the beginning, attributes; in the order of time."""
    admitted = trace.admitted or 0
    placed = trace.placed if trace.placed is not None else admitted + row.queue_ms
    events: list[tuple[str, int, dict[str, Any]]] = []
    if trace.admitted is not None:
        events.append(("lingma.admitted", admitted, {}))
    times = [*trace.lost_at, *[placed] * len(trace.lost)]  # one that was handed over may have none
    events += [
        ("lingma.attempt_lost", at, {"lingma.instance": name, "error.type": why})
        for (name, why), at in zip(trace.lost, times, strict=False)
    ]
    if row.instance:
        decision = {"lingma.session": row.session, "lingma.session.why": trace.session, "lingma.instance": row.instance}
        events.append(("lingma.placed", placed, {name: value for name, value in decision.items() if value}))
    if trace.asked is not None:
        events.append(("lingma.asked", trace.asked, {}))
    if row.first_token_ms is not None:
        events.append(("lingma.first_token", admitted + row.first_token_ms, {}))
    if row.tools:
        events.append(("lingma.tool_calls", row.total_ms, {"lingma.tools": row.tools}))
    return events
