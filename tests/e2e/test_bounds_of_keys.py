"""What one key can hold of a gateway beside all others."""

import gzip
import json
from contextlib import ExitStack

import psutil
import pytest

from tests.e2e.installation import KEY, OTHER_KEY
from tests.e2e.speech import OPENAI, Stream, send

MIB = 1 << 20


def rss(gateway):
    return psutil.Process(gateway.processes[0].pid).memory_info().rss


def test_a_reader_that_does_not_read_small_pieces_costs_little(gateway, dialect):
    """Of 20 KB of text in pieces of one character, 5 MB would be sent."""
    gateway.ask(dialect, "[[sim: text=warm size=1]] x", stream=True)
    before = rss(gateway)
    with ExitStack() as stack:
        names = [f"deaf {dialect} {number}" for number in range(4)]
        for name in names:
            prompt = "[[sim: echo=prompt size=1]] " + "y" * 20_000
            stack.enter_context(Stream(gateway, dialect, prompt, key=KEY, receive_buffer=4096, model=name))
        for _ in range(5):
            assert gateway.ask(OPENAI, "[[sim: text=hello]] x", key=OTHER_KEY).status == 200
        assert rss(gateway) - before < 48 * MIB
    assert {gateway.row_of_model(name)["status"] for name in names} <= {"ok", "error", "cancelled"}


@pytest.mark.parametrize("stream", [False, True], ids=["plain", "streamed"])
def test_a_prompt_beyond_all_models_harms_nobody_else(gateway, stream):
    with Stream(gateway, OPENAI, '[[sim: text="still here" chunks=2 delay_ms=1500]] x', key=OTHER_KEY) as other:
        other.until(b"still")
        large = gateway.ask(OPENAI, "[[sim: text=hello]] " + "word " * 5_000_000, stream=stream)
        assert (large.status, large.json()["error"]["code"]) == (400, "context_length_exceeded")
        assert other.rest().finish == "stop"
    assert gateway.ask(OPENAI, "[[sim: text=hello]] x").text == "hello"


def test_a_name_that_would_be_told_with_every_piece_is_refused(gateway, dialect):
    body = json.dumps(dialect.body("[[sim: chunks=600]] x", stream=True, model="m" * MIB)).encode()
    answer = send(
        gateway, "POST", dialect.path, key=KEY, body=gzip.compress(body), headers={"content-encoding": "gzip"}
    )
    assert answer.status in {400, 404}
