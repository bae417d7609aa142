"""A key that ends while the body of a request is on its way."""

import asyncio
import json
import time

import msgspec
import pytest
import redis

from accounts.keys.keyring import KeyRing
from bridge.http.chat import LONG_BODY_SEC
from bridge.http.routing import CHAT_CONSUMERS
from gateway_project.lib.redis.redis_keys import USAGE
from tests.bridge.chats import replying
from tests.bridge.http.serving import PEPPER, SECRET, Answer, load_key

PATHS = ("/v1/chat/completions", "/v1/messages", "/v1/responses")


class Upload:
    """The body comes when the key is closed, and the first look at it is too old to be trusted."""

    def __init__(self, keys, closed):
        self.keys, self.closed, self.began = keys, closed, time.monotonic()

    async def receive(self):
        self.closed.append(True)
        while await self.keys.authenticate(SECRET) is not None or time.monotonic() <= self.began + LONG_BODY_SEC:
            await asyncio.sleep(0.02)
        return {"type": "http.request", "body": b"{}", "more_body": False}


@pytest.mark.parametrize("path", PATHS)
@pytest.mark.parametrize(("end", "reason"), [("revoked", "revoked"), ("expired", "expired"), ("deleted", "revoked")])
async def test_key_ended_amid_upload_is_booked_so(new_runtime, new_service, redis_server, path, end, reason):
    closed = []

    async def load(digest):
        record = await load_key(digest)
        if closed and end == "deleted":
            return None
        how = {"expires_at": 1.0} if end == "expired" else {"closed": end}
        return msgspec.structs.replace(record, **how) if closed else record

    runtime = await new_runtime(await new_service(replying("Hello")))
    runtime.keys = KeyRing(PEPPER, runtime.link, load)
    headers = [(b"authorization", f"Bearer {SECRET}".encode())]
    scope = {"type": "http", "method": "POST", "path": path, "query_string": b"", "headers": headers}
    answer = Answer()
    with redis.Redis.from_url(redis_server) as client:
        client.delete(USAGE)
        async with asyncio.timeout(60):
            await CHAT_CONSUMERS[path]()(scope, Upload(runtime.keys, closed).receive, answer.send)
        await runtime.refusals.file()
        [row] = [json.loads(fields[b"row"]) for _, fields in client.xrange(USAGE)]
    assert (answer.status, row["reason"], row["api_key_id"]) == (401, reason, 1)
