"""Conversations that go on in the session they began in, and those that must not."""

import json
from concurrent.futures import ThreadPoolExecutor

import pytest

from tests.e2e.formats import ANTHROPIC, FORMATS, OPENAI, Stream, send
from tests.e2e.installation import KEY, OTHER_KEY, Gateway, until

HISTORY = "[[sim: echo=history]] "


def first(gateway, name, *, wire=OPENAI, key=KEY, text="a first answer", **more):
    """Begin a conversation; its messages so far."""
    question = f'[[sim: text="{text}"]] begin {name}'
    answer = gateway.ask(wire, question, key=key, **more)
    assert answer.headers["x-lingma-session"] == "new"
    return [{"role": "user", "content": question}, {"role": "assistant", "content": answer.text}]


def go_on(gateway, messages, question="go on", *, wire=OPENAI, **more):
    """The next turn of a conversation."""
    return gateway.ask(wire, [*messages, {"role": "user", "content": HISTORY + question}], **more)


def session(answer):
    return answer.headers["x-lingma-session"]


@pytest.mark.parametrize("then", FORMATS, ids=str)
def test_second_turn_sends_only_the_new_text(gateway, wire, stream, then):
    name = f"one {wire} {stream} {then}"
    messages = first(gateway, name, wire=wire, stream=stream)
    answer = go_on(gateway, messages, f"new {name}", wire=then, stream=stream)
    assert session(answer) == "reused"
    assert json.loads(answer.text)["isReply"] is True
    assert json.loads(answer.text)["turns"] == 2
    [begun], [asked] = gateway.asks(f"begin {name}"), gateway.asks(f"new {name}")
    assert asked["questionText"] == f"{HISTORY}new {name}"
    assert asked["sessionId"] == begun["sessionId"]
    assert gateway.row(answer.headers["x-request-id"])["session"] == "reused"


def test_a_conversation_goes_on_for_many_turns(gateway):
    messages = first(gateway, "many turns")
    for turn in range(2, 6):
        question = f"{HISTORY}turn {turn}"
        answer = gateway.ask(FORMATS[turn % 2], [*messages, {"role": "user", "content": question}])
        assert (session(answer), json.loads(answer.text)["turns"]) == ("reused", turn)
        messages += [{"role": "user", "content": question}, {"role": "assistant", "content": answer.text}]


def test_session_id_of_the_service_counts(gateway):
    question = "[[sim: text=hi session=told-by-the-service]] named"
    answer = gateway.ask(OPENAI, question)
    messages = [{"role": "user", "content": question}, {"role": "assistant", "content": answer.text}]
    go_on(gateway, messages, "after named")
    assert gateway.asks("after named")[0]["sessionId"] == "told-by-the-service"


def test_another_key_never_gets_the_session(gateway, wire):
    messages = first(gateway, f"of alice {wire}", wire=wire)
    assert session(go_on(gateway, messages, wire=wire, key=OTHER_KEY)) == "new"
    assert session(go_on(gateway, messages, wire=wire, key=KEY)) == "reused"


@pytest.mark.parametrize(
    "change",
    [
        lambda messages: [{"role": "system", "content": "Be brief."}, *messages],
        lambda messages: [messages[0], {"role": "assistant", "content": "another answer"}],
        lambda messages: [{"role": "user", "content": "another question"}, messages[1]],
    ],
    ids=["system", "answer", "question"],
)
def test_another_prefix_is_another_session(gateway, change):
    messages = first(gateway, f"changed {change.__code__.co_firstlineno}")
    assert session(go_on(gateway, change(messages))) == "new"


def test_decorations_of_messages_do_not_count(gateway):
    [question, answer] = first(gateway, "decorated", wire=ANTHROPIC, system="Be brief.")
    block = {"type": "text", "text": question["content"], "cache_control": {"type": "ephemeral"}}
    messages = [{"role": "user", "content": [block]}, answer]
    system = [{"type": "text", "text": "Be brief.", "cache_control": {"type": "ephemeral"}}]
    assert session(go_on(gateway, messages, wire=ANTHROPIC, system=system)) == "reused"


def test_equal_prefixes_at_once_never_share_a_session(gateway):
    messages = first(gateway, "at once")
    with ThreadPoolExecutor(6) as pool:
        slow = "[[sim: echo=history first_ms=300]] at the same time"
        turn = [*messages, {"role": "user", "content": slow}]
        answers = list(pool.map(lambda number: gateway.ask(FORMATS[number % 2], turn), range(6)))
    assert sorted(map(session, answers)) == ["new"] * 5 + ["reused"]
    assert len({ask["sessionId"] for ask in gateway.asks("at the same time")}) == 6


def test_failed_or_abandoned_turn_is_not_continued(gateway):
    question = "[[sim: text=half chunks=1 after=1 fault=finish_code]] failed"
    gateway.ask(OPENAI, question, stream=True)
    messages = [{"role": "user", "content": question}, {"role": "assistant", "content": "half"}]
    assert session(go_on(gateway, messages)) == "new"


def test_agent_mode_has_none(gateway, wire):
    assert session(gateway.ask(wire, "[[sim: text=x]] x", model="lingma-agent")) == "off"


def test_lost_session_is_sent_again_from_the_start(gateway, wire, stream):
    messages = first(gateway, f"lost {wire} {stream}")
    gateway.control(turns=[{"fault": "finish_code", "after": 0, "finish": 500}])
    answer = go_on(gateway, messages, f"after loss {wire} {stream}", wire=wire, stream=stream)
    gateway.control()
    assert (answer.status, session(answer)) == (200, "rebuilt")
    retold = gateway.asks(f"after loss {wire} {stream}")[-1]
    assert retold["isReply"] is False
    assert "a first answer" in retold["questionText"]


def test_a_blocked_session_is_dropped(gateway):
    messages = first(gateway, "blocked")
    gateway.control(turns=[{"fault": "blocked", "after": 0}])
    assert session(go_on(gateway, messages)) == "rebuilt"
    gateway.control()


@pytest.fixture(scope="module")
def pair(tmp_path_factory, template):
    """Two instances with one place each."""
    limits = {"LINGMA_INSTANCES": "2", "MAX_IN_FLIGHT": "2", "SESSION_CACHE_MAX_ENTRIES": "4"}
    with Gateway(tmp_path_factory.mktemp("pair"), template, **limits) as running:
        until(lambda: all(each["state"] == "ready" for each in send(running, "GET", "/readyz").json()["instances"]))
        yield running


def test_a_conversation_returns_to_its_instance(pair):
    conversations = [first(pair, f"returns {number}") for number in range(4)]
    for messages in conversations:
        answer = go_on(pair, messages)
        assert session(answer) == "reused"


def test_the_oldest_of_too_many_conversations_is_forgotten(pair):
    conversations = [first(pair, f"too many {number}") for number in range(5)]
    newest_first = [session(go_on(pair, messages)) for messages in reversed(conversations)]
    assert newest_first == ["reused"] * 4 + ["new"]


def test_conversation_of_busy_instance_is_rebuilt_elsewhere(pair, wire, stream):
    question = f"busy {wire} {stream}"
    begun = pair.ask(OPENAI, f'[[sim: text="a first answer"]] begin {question}')
    home = begun.headers["x-lingma-instance"]
    messages = [{"role": "user", "content": f'[[sim: text="a first answer"]] begin {question}'}]
    messages.append({"role": "assistant", "content": begun.text})
    with hold(pair, home):
        answer = go_on(pair, messages, question, wire=wire, stream=stream)
    assert (answer.status, session(answer)) == (200, "rebuilt")
    other = answer.headers["x-lingma-instance"]
    assert other != home
    assert "a first answer" in pair.asks(question, other)[-1]["questionText"]


def hold(gateway, instance):
    """A stream that keeps the one place of this instance."""
    for _ in range(2):
        stream = Stream(gateway, OPENAI, '[[sim: text="first second" chunks=2 delay_ms=60000]] x', key=KEY)
        stream.until(b"first")
        if stream.response.headers["x-lingma-instance"] == instance:
            return stream
        stream.hang_up()
        until(lambda: gateway.in_flight() == 0)
    raise AssertionError("round robin never came to this instance")


def test_a_conversation_outlives_its_instance(pair, wire):
    messages = first(pair, f"outlives {wire}")
    pair.restart_lingma("w1-i1", "w1-i2")
    answer = go_on(pair, messages, wire=wire)
    assert (answer.status, session(answer)) == (200, "rebuilt")
    assert json.loads(answer.text)["isReply"] is False


def test_session_reuse_can_be_switched_off(tmp_path, template):
    with Gateway(tmp_path, template, SESSION_REUSE_ENABLED="false") as gateway:
        assert session(gateway.ask(OPENAI, "[[sim: text=x]] x")) == "off"
