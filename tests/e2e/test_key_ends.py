"""What runs or waits for a key ends with the key, also while Redis is away."""

import http.client
import json
import time
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack

import pytest

from tests.e2e.formats import ANTHROPIC, OPENAI, RESPONSES, Stream
from tests.e2e.installation import KEY, Gateway, django, limited_key, until

HOLD = '[[sim: text="first second" chunks=2 delay_ms=60000]] x'

END = {
    "revoked": 'ApiKey.objects.filter(name="revoked").revoke()',
    "deleted": 'ApiKey.objects.get(name="deleted").delete()',
    "expiring": """
from datetime import timedelta
from django.utils import timezone
ApiKey.objects.filter(name="expiring").update(expires_at=timezone.now() + timedelta(seconds=0.7))
""",
    "alone": 'ApiKey.objects.filter(name="alone").revoke()',
}


@pytest.fixture(scope="module")
def gateway(tmp_path_factory, template):
    with Gateway(tmp_path_factory.mktemp("ends"), template, MAX_IN_FLIGHT="4", KEEPALIVE_SEC="0.2") as running:
        yield running


def end(gateway, name):
    django(gateway.data_dir, f"from accounts.models import ApiKey\n{END[name]}")


class HalfSent:
    """A request whose body is on its way for a while."""

    def __init__(self, gateway, key):
        self.body = json.dumps(OPENAI.body("[[sim: text=late]] x")).encode()
        self.began = time.monotonic()
        self.connection = http.client.HTTPConnection("127.0.0.1", gateway.port, timeout=30)
        self.connection.putrequest("POST", OPENAI.path)
        self.connection.putheader("content-length", str(len(self.body)))
        self.connection.putheader("authorization", f"Bearer {key}")
        self.connection.endheaders(self.body[:10])

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.connection.close()

    def send_the_rest(self):
        # The upload must outlast the moment at which the gateway trusts its first look at the key.
        time.sleep(max(0.0, self.began + 1.5 - time.monotonic()))
        self.connection.send(self.body[10:])
        return self.connection.getresponse().status


def told_in(answer):
    """The type of the error that ends a stream."""
    events = [event for event in answer.events if event.get("error") or event.get("type") == "response.failed"]
    event = events[-1]
    return event["error"]["type"] if event.get("error") else event["response"]["error"]["code"]


KINDS = ["invalid_request_error", "authentication_error", "invalid_prompt"]


@pytest.mark.parametrize("name", ["revoked", "deleted", "expiring"])
def test_running_and_waiting_turns_end_with_their_key(gateway, name):
    with ExitStack() as stack, ThreadPoolExecutor(2) as pool:
        running = [Stream(gateway, each, HOLD, key=limited_key(name)) for each in (OPENAI, ANTHROPIC, RESPONSES)]
        for stream in running:
            stack.enter_context(stream).until(b"first")
        whole = pool.submit(gateway.ask, OPENAI, HOLD, key=limited_key(name))
        until(lambda: gateway.in_flight() == 4)
        waiting = stack.enter_context(Stream(gateway, OPENAI, f"{HOLD} never asked {name}", key=limited_key(name)))
        waiting.until(OPENAI.keep_alive)
        others = stack.enter_context(Stream(gateway, OPENAI, f"[[sim: text=others]] {name}", key=KEY))
        others.until(OPENAI.keep_alive)
        late = stack.enter_context(HalfSent(gateway, limited_key(name)))
        end(gateway, name)
        assert [told_in(stream.rest()) for stream in running] == KINDS
        assert told_in(waiting.rest()) == "invalid_request_error"
        assert whole.result().status == 401
        assert others.rest().text == "others"
        reason = "expired" if name == "expiring" else "revoked"
        assert late.send_the_rest() == 401
        rows = [gateway.row(stream.request_id) for stream in (*running, waiting)]
        assert [(row["status"], row["reason"]) for row in rows] == [("error", reason)] * 3 + [("refused", reason)]
    assert gateway.asks(f"never asked {name}") == []


def test_ended_key_stops_its_stream_without_redis(gateway):
    with (
        Stream(gateway, OPENAI, HOLD, key=limited_key("alone")) as stream,
        Stream(gateway, OPENAI, HOLD, key=KEY) as other,
    ):
        stream.until(b"first")
        other.until(b"first")
        gateway._redis.kill()
        gateway._redis.wait()
        end(gateway, "alone")
        assert told_in(stream.rest()) == "invalid_request_error"
        other.until(OPENAI.keep_alive)  # it goes on
