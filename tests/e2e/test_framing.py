"""What the service may send, however odd, is understood (PROTOCOL 4, 5, 9.6, 18.2 and its faults)."""

from concurrent.futures import ThreadPoolExecutor

import pytest

from tests.e2e.formats import FORMATS, send
from tests.e2e.installation import KEY, until

TEXT = "Grüße, 通义灵码! 🙂 {}".format("lorem ipsum " * 20)


@pytest.mark.parametrize(
    "frames",
    [
        "frame=text", "frame=binary", "merge=5", "merge=5 frame=binary", "split=1", "split=7", 'split="5,40,-3"',
        "fragment=1", "fragment=50 frame=binary", "ping", "ping merge=3 split=11", "split=3 fragment=2 ping",
    ],
)  # fmt: skip
def test_the_form_of_the_frames_does_not_matter(gateway, wire, frames):
    answer = gateway.ask(wire, f'[[sim: text="{TEXT}" size=9 {frames}]] x', stream=True)
    assert (answer.text, answer.finish) == (TEXT, wire.done)


@pytest.mark.parametrize("ids", ["int", "string"])
def test_push_requests_are_acknowledged_with_their_ids(gateway, wire, ids):
    before = len(gateway.received())
    gateway.ask(wire, f"[[sim: chunks=5 ids={ids}]] x", stream=True)
    messages = gateway.received()[before:]
    pushed = [each["id"] for each in messages if each["direction"] == "out" and "id" in each and "method" in each]
    assert pushed
    assert {type(each) for each in pushed} == {int if ids == "int" else str}

    def acknowledged():
        answers = [each for each in gateway.received()[before:] if each["direction"] == "in" and "method" not in each]
        return [each["id"] for each in answers if each["id"] in pushed]  # those of earlier turns may still come in

    assert until(lambda: len(acknowledged()) >= len(pushed) and acknowledged()) == pushed


def test_pushes_may_be_notifications(gateway, wire, stream):
    assert gateway.ask(wire, f'[[sim: text="{TEXT}" size=9 ids=none]] x', stream=stream).text == TEXT


@pytest.mark.parametrize(
    "knobs",
    [
        "empty=1", "field=content", "full_answer=empty", "full_answer=only", "steps=false title=false", "context_usage",
        "fault=foreign_finish", "fault=double_finish", "fault=late_answer", "fault=unknown_push",
        "fault=double_finish,late_answer", "fault=orphan_tool_event", "fault=token_refresh",
    ],
)  # fmt: skip
def test_the_reply_is_whole_and_ends_once(gateway, wire, stream, knobs):
    answer = gateway.ask(wire, f'[[sim: text="one two three" size=3 {knobs}]] x', stream=stream)
    assert (answer.text, answer.finish, answer.error) == ("one two three", wire.done, None)


@pytest.fixture
def other_models(gateway):
    """The models offered now; those of before are offered again in the end."""

    def offered():
        return {model["id"] for model in send(gateway, "GET", "/v1/models", key=KEY).json()["data"]}

    before = offered()
    yield lambda: offered() - before
    for knobs, wanted in (({"models": "only:Only"}, {"only"}), ({}, before)):
        gateway.control(**knobs)
        until(lambda wanted=wanted: offered() == wanted)


def test_reply_survives_a_change_of_models(gateway, wire, stream, other_models):
    answer = gateway.ask(wire, '[[sim: text="one two three" size=3 fault=models_change]] x', stream=stream)
    assert (answer.text, answer.finish, answer.error) == ("one two three", wire.done, None)
    assert until(other_models) == {"brand_new_model"}


def test_overwrite_replaces_text(gateway, wire):
    answer = gateway.ask(wire, '[[sim: text="draft" overwrite="final answer"]] x')
    assert answer.text.endswith("final answer")


def test_overwrite_that_extends_text_continues_it(gateway, wire, stream):
    answer = gateway.ask(wire, '[[sim: text="one" overwrite="one two" delay_ms=5]] x', stream=stream)
    assert answer.text == "one two"


def test_line_separators_stay_in_one_event_line(gateway, wire):
    text = "a\u2028b\u2029c\x85d\x0be\x0cf\ng"
    escaped = text.replace("\n", "\\n")
    answer = gateway.ask(wire, f'[[sim: text="{escaped}" size=2]] x', stream=True)
    assert answer.text == text
    assert all(line.startswith(("data: ", "event: ", ": ")) for line in answer.body.decode().splitlines() if line)


def test_interleaved_turns_stay_apart(gateway):
    def ask(number):
        name = f"turn{number:02d} "
        marker = f'[[sim: text="{name * 40}" size=3 delay_ms=1]]'
        return name * 40, gateway.ask(FORMATS[number % 2], f"{marker} x", stream=True).text

    with ThreadPoolExecutor(8) as pool:
        for wanted, got in pool.map(ask, range(24)):
            assert got == wanted
