"""Which usage rows have a trace."""

import asyncio
import json

import pytest
import redis
from prometheus_client.parser import text_string_to_metric_families

from accounts.keys.keyring import Caller, KeyRecord, KeyRing
from accounts.keys.limit_set import LimitSet
from accounts.ledger.trace import decoded
from bridge.http.routing import CHAT_CONSUMERS
from bridge.telemetry import metrics
from gateway_project.lib.redis.redis_keys import USAGE
from tests.bridge.chats import replying
from tests.bridge.http.serving import PEPPER, SECRET, Answer, post

PATH = "/v1/chat/completions"
PROMPT = "something private"


@pytest.fixture
def rows(redis_server):
    with redis.Redis.from_url(redis_server) as client:
        client.delete(USAGE)
        yield lambda: [
            row for _, fields in client.xrange(USAGE) if (row := json.loads(fields[b"row"])) and "opened_by" not in row
        ]


async def load_limited(digest):
    limits = (LimitSet.of("key", 77_001, rpm=1),)
    return KeyRecord(Caller(77_001, "key", "lgw_", limits=limits, digest=bytes.fromhex(digest)))


async def ask(**fields):
    body = {"model": "what-a-name", "messages": [{"role": "user", "content": PROMPT}], **fields}
    return await post(CHAT_CONSUMERS[PATH](), json.dumps(body).encode(), PATH)


@pytest.mark.parametrize("share", [0, 1])
async def test_good_turn_has_a_trace_if_sampled(new_runtime, new_service, rows, share):
    await new_runtime(await new_service(replying("Hello")), trace_share=share)
    assert (await ask()).status == 200
    [row] = rows()
    assert ("trace" in row) == bool(share)
    assert PROMPT not in json.dumps(row)


async def test_upload_is_no_time_of_tokens(new_runtime, new_service, rows):
    """The time per token is that of the answer, however long the client took to ask."""
    await new_runtime(await new_service(replying("Hello")), trace_share=1)
    body = json.dumps({"model": "x", "messages": [{"role": "user", "content": PROMPT}]}).encode()
    before = spent_per_token()

    async def receive():
        await asyncio.sleep(0.2)
        return {"type": "http.request", "body": body, "more_body": False}

    answer = Answer()
    headers = [(b"authorization", f"Bearer {SECRET}".encode())]
    scope = {"type": "http", "method": "POST", "path": PATH, "query_string": b"", "headers": headers}
    await CHAT_CONSUMERS[PATH]()(scope, receive, answer.send)
    [row] = rows()
    of_answer = row["total_ms"] - decoded(row["trace"]).admitted - row["first_token_ms"]
    assert row["completion_tokens"] > 1
    assert (spent_per_token() - before) * (row["completion_tokens"] - 1) == pytest.approx(of_answer / 1000)


def spent_per_token():
    families = text_string_to_metric_families(metrics.render().decode())
    name = "gen_ai_server_time_per_output_token_seconds_sum"
    return sum(each.value for family in families for each in family.samples if each.name == name)


async def test_failed_turn_always_has_a_trace(new_runtime, new_service, rows):
    runtime = await new_runtime(await new_service(replying(statusCode=500, reason="it broke")), trace_share=0)
    assert (await ask()).status == 502
    await runtime.engine.wait_for_background()
    [row] = rows()
    trace = decoded(row["trace"])
    assert "it broke" in trace.error
    assert trace.named_by == "default"
    assert 0 <= trace.admitted <= trace.placed <= trace.asked <= row["total_ms"]
    assert PROMPT not in json.dumps(row)


async def test_refusal_has_the_trace_of_its_first(new_runtime, new_service, rows):
    runtime = await new_runtime(await new_service(replying("Hello")), trace_share=0)
    for _ in range(3):
        assert (await ask(messages=[{"role": PROMPT, "content": "x"}])).status == 400
    await runtime.refusals.file()
    [row] = rows()
    assert row["count"] == 3
    assert decoded(row["trace"]).param == "messages.0.role"


async def test_trace_has_the_limits_as_they_stood(new_runtime, new_service, rows):
    runtime = await new_runtime(await new_service(replying("Hello")), trace_share=1)
    runtime.keys = KeyRing(PEPPER, runtime.link, load_limited)
    assert (await ask()).status == 200
    assert (await ask()).status == 429
    await runtime.engine.wait_for_background()
    await runtime.refusals.file()
    good, refused = [decoded(row["trace"]).limits for row in rows()]
    assert [limit[:2] for limit in good] == [("key", "rpm")]
    assert refused == [("key", "rpm", 1, 1)]
