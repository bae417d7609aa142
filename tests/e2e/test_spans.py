"""Spans of turns, as a collector receives them that speaks OTLP."""

import pytest
from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceRequest

from tests.e2e.agents import ChatAgent, call, plan
from tests.e2e.formats import ANTHROPIC, OPENAI, send
from tests.e2e.installation import KEY, Gateway, until
from tests.receiver import Receiver

PARENT = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01"


class Collector(Receiver):
    @property
    def requests(self):
        return [ExportTraceServiceRequest.FromString(body) for body in self.bodies]

    @property
    def spans(self):
        return [
            span for each in self.requests for resource in each.resource_spans for scope in resource.scope_spans
            for span in scope.spans
        ]  # fmt: skip

    def of(self, trace_id):
        """The spans of one trace, as soon as there is one."""
        return until(lambda: [span for span in self.spans if span.trace_id.hex() == trace_id])


@pytest.fixture(scope="module")
def collector():
    with Collector() as running:
        yield running


@pytest.fixture(scope="module")
def traced(tmp_path_factory, template, collector):
    settings = {
        "OTEL_EXPORTER_OTLP_ENDPOINT": f"http://127.0.0.1:{collector.server_port}",
        "OTEL_RESOURCE_ATTRIBUTES": "deployment.environment.name=tests", "OTEL_BSP_SCHEDULE_DELAY": "100",
    }  # fmt: skip
    with Gateway(tmp_path_factory.mktemp("traced"), template, **settings) as gateway:
        yield gateway
    assert gateway.left_behind == []


def attributes(span):
    values = {}
    for each in span.attributes:
        kind = each.value.WhichOneof("value")
        value = getattr(each.value, kind)
        values[each.key] = [one.string_value for one in value.values] if kind == "array_value" else value
    return values


def ask(gateway, wire, prompt, *, key=KEY, model="org_auto", **headers):
    return send(gateway, "POST", wire.path, key=key, body=wire.body(prompt, stream=False, model=model), headers=headers)


def trace_of(answer):
    return answer.headers["traceparent"].split("-")[1]


def test_turn_is_a_span_of_the_callers_trace(traced, collector):
    answer = ask(traced, OPENAI, "[[sim: text=canary-answer]] canary-prompt", traceparent=PARENT)
    _, trace, id_, _ = answer.headers["traceparent"].split("-")
    assert trace == PARENT.split("-")[1]
    (span,) = collector.of(trace)
    assert (span.span_id.hex(), span.parent_span_id.hex()) == (id_, PARENT.split("-")[2])
    found = attributes(span)
    assert found["gen_ai.operation.name"] == "chat"
    assert (found["gen_ai.request.model"], found["gen_ai.response.finish_reasons"]) == ("org_auto", ["stop"])
    assert found["lingma.request_id"] == answer.headers["x-request-id"]
    assert (found["lingma.instance"], found["lingma.session"]) == ("w1-i1", "new")
    assert found["gen_ai.usage.input_tokens"] > 0
    names = [event.name for event in span.events]
    assert names == ["lingma.admitted", "lingma.placed", "lingma.asked", "lingma.first_token"]
    assert span.start_time_unix_nano <= span.events[0].time_unix_nano <= span.end_time_unix_nano
    assert traced.row(answer.headers["x-request-id"])["trace_id"] == trace


def test_trace_without_caller_has_the_requests_id(traced, collector, wire, stream):
    answer = traced.ask(wire, "[[sim: text=x]] x", stream=stream)
    trace = trace_of(answer)
    assert answer.headers["x-request-id"] == f"req_{trace}"
    (span,) = collector.of(trace)
    assert not span.parent_span_id
    assert attributes(span)["lingma.stream"] is stream


@pytest.mark.parametrize(
    ("given", "reason"), [({"model": ""}, "invalid_request"), ({"key": "lgw_nobodys-key-0000"}, "unknown_key")]
)
def test_refused_request_is_a_span(traced, collector, given, reason):
    answer = ask(traced, ANTHROPIC, "x", traceparent=PARENT, **given)
    assert (answer.status in (400, 401), trace_of(answer)) == (True, PARENT.split("-")[1])
    span = until(lambda: next((each for each in collector.spans if attributes(each).get("error.type") == reason), None))
    assert span.trace_id.hex() == PARENT.split("-")[1]


def test_failed_turn_is_an_error(traced, collector):
    answer = traced.ask(OPENAI, "[[sim: fault=finish_code after=0 finish=500]] x")
    (span,) = collector.of(trace_of(answer))
    assert (attributes(span)["error.type"], span.status.code) == ("upstream", 2)


def events_of(span, name):
    return [event for event in span.events if event.name == name]


def test_lost_attempt_is_an_event_of_its_time(traced, collector):
    answer = traced.ask(OPENAI, "[[sim: fault=crash after=0]] a prompt that ends two services")
    (span,) = collector.of(trace_of(answer))
    [lost, *_] = events_of(span, "lingma.attempt_lost")
    assert attributes(lost) == {"lingma.instance": "w1-i1", "error.type": "upstream"}
    [placed] = events_of(span, "lingma.placed")
    # Before the last attempt had its place, which had to wait for the instance to come back.
    assert span.start_time_unix_nano <= lost.time_unix_nano < placed.time_unix_nano
    assert attributes(span)["lingma.attempts"] >= 2
    assert [event.name for event in span.events if event.time_unix_nano < lost.time_unix_nano] == ["lingma.admitted"]


def test_tool_calls_are_an_event_in_figures(traced, collector):
    agent = ChatAgent(traced, False)
    first = agent.ask(plan(call("read_file", path="canary.txt"), {"say": "done"}))
    assert first.names == ["read_file"]
    (span,) = collector.of(first.request_id.removeprefix("req_"))
    [event] = events_of(span, "lingma.tool_calls")
    assert attributes(event) == {"lingma.tools": "1 parsed"}
    assert event.time_unix_nano == span.end_time_unix_nano


def test_caller_that_samples_nothing_gets_no_span(traced, collector):
    unsampled = "00-0af7651916cd43dd8448eb211c80319d-b7ad6b7169203331-00"
    answer = ask(traced, OPENAI, "[[sim: text=x]] x", traceparent=unsampled)
    assert answer.headers["traceparent"].endswith("-00")
    after = traced.ask(OPENAI, "[[sim: text=x]] x")
    collector.of(trace_of(after))
    assert [each for each in collector.spans if each.trace_id.hex() == unsampled.split("-")[1]] == []


def test_malformed_parent_is_none(traced, collector):
    answer = ask(traced, OPENAI, "[[sim: text=x]] x", traceparent="00-zz-1-01")
    assert answer.headers["x-request-id"] == f"req_{trace_of(answer)}"


def test_spans_have_no_content_and_name_the_service(traced, collector):
    collector.of(trace_of(ask(traced, OPENAI, "[[sim: text=canary-answer]] canary-prompt")))
    sent = b"".join(collector.bodies)
    assert b"canary" not in sent
    assert b"lgw_" not in sent
    assert collector.paths == {"/v1/traces"}
    resource = attributes(collector.requests[0].resource_spans[0].resource)
    assert (resource["service.name"], resource["deployment.environment.name"]) == ("lingma-gateway", "tests")


def test_collector_that_is_away_costs_no_turn(tmp_path, template):
    settings = {"OTEL_EXPORTER_OTLP_ENDPOINT": "http://127.0.0.1:9", "OTEL_BSP_SCHEDULE_DELAY": "10"}
    with Gateway(tmp_path / "data", template, **settings) as gateway:
        assert gateway.ask(OPENAI, "[[sim: text=x]] x").text == "x"
    assert gateway.left_behind == []
