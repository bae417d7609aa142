"""Keys and tokens that somebody made up in his own language: clients send them as UTF-8, some as Latin-1."""

import pytest

from accounts.keys.keyring import Caller, KeyRecord, KeyRing
from bridge.http.endpoints import Metrics, Models
from gateway_project.lib.secrets.key_secret import digest_of
from tests.bridge.chats import replying
from tests.bridge.http.serving import PEPPER, Answer, receive_from

TOKEN = "Schlüssel für die Zähler"


async def load_foreign_key(digest):
    is_it = digest == digest_of(TOKEN, PEPPER)
    return KeyRecord(Caller(1, "key", "imported", digest=bytes.fromhex(digest))) if is_it else None


async def status(consumer, *headers):
    scope = {"type": "http", "method": "GET", "path": "/", "query_string": b"", "headers": [*headers]}
    scope["url_route"] = {"kwargs": {}}
    answer = Answer()
    await consumer(scope, receive_from([], answer.gone), answer.send)
    return answer.status


@pytest.mark.parametrize("encoding", ["utf-8", "latin-1"])
async def test_secret_beyond_ascii_opens(new_service, new_runtime, encoding):
    runtime = await new_runtime(await new_service(replying("x")), metrics_token=TOKEN)
    bearer = (b"authorization", f"Bearer {TOKEN}".encode(encoding))
    assert (await status(Metrics(), bearer), await status(Metrics(), (bearer[0], bearer[1][:-1]))) == (200, 401)
    runtime.keys = KeyRing(PEPPER, runtime.link, load_foreign_key)
    assert await status(Models(), bearer) == 200
    assert await status(Models(), (b"x-api-key", TOKEN.encode(encoding))) == 200
