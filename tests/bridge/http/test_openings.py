"""Who sees the head of a stream finds the row of its turn, also when the process is killed right then."""

import json

import pytest
import redis

from bridge.http.chat import MOST_AT_ONCE
from bridge.http.routing import CHAT_CONSUMERS
from gateway_project.lib.redis.redis_keys import USAGE
from tests.bridge.http.serving import Answer, post
from tests.bridge.lingma.service import answer, finish

PATHS = ("/v1/chat/completions", "/v1/messages", "/v1/responses")


class Watching(Answer):
    """It looks what lies in Redis when the head comes."""

    def __init__(self, client):
        super().__init__()
        self.client, self.seen = client, b""

    async def send(self, message):
        await super().send(message)
        if message["type"] == "http.response.start":
            self.seen = b"".join(line for _, fields in self.client.xrange(USAGE) for line in fields.values())


def saying_at_once(count):
    """All of it in one frame, which is one batch of events."""

    async def on_ask(peer, params):
        id_ = params["requestId"]
        await peer.together(*[answer(f"{number} ", id_) for number in range(count)], finish(id_))

    return on_ask


@pytest.mark.parametrize("path", PATHS)
@pytest.mark.parametrize("count", [1, MOST_AT_ONCE, 4 * MOST_AT_ONCE])
async def test_head_comes_behind_the_row(new_service, new_runtime, redis_server, path, count):
    await new_runtime(await new_service(saying_at_once(count)))
    question = "input" if path == PATHS[2] else "messages"
    body = {"model": "org_auto", "stream": True, question: [{"role": "user", "content": "Hello"}]}
    if path == PATHS[1]:
        body["max_tokens"] = 10_000
    with redis.Redis.from_url(redis_server) as client:
        client.delete(USAGE)
        told = Watching(client)
        await post(CHAT_CONSUMERS[path](), json.dumps(body).encode(), path, answer=told)
    assert told.headers[b"x-request-id"] in told.seen
    assert f"{count - 1} ".encode() in b"".join(told.parts)
