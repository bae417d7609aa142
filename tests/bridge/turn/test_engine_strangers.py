"""Whoever shares a key: nobody is ever answered in a session that was told something his own request does not say."""

import random
import re

import pytest

from bridge.prompt.compose import whole_prompt
from bridge.prompt.contract import contract
from tests.bridge.chats import chat
from tests.bridge.strangers import SYSTEM, UUID, Book, Person, demanding_json, tool_for

WORD = re.compile(r"word\d+of\w+")
RULES = (
    "This reply must",
    "Write at most",
    "Do not call",
    "Answer with JSON",
    "Answer in plain",
    "Your last reply",
    "Reply again",
)
CALLED = re.compile(r'<call:\w+>.*"arguments":(.*)\}</call:\w+>')
AGENT = {"user-agent": "codex_cli_rs/1.0", "session-id": ""}


def a_few_people(dice):
    """Two or three who say nearly the same over one of the APIs each."""
    apis = ["chat", "messages", "responses"]
    api, beginning = dice.choice(apis), dice.choice(BEGINNINGS)
    tools, then = dice.random() < 0.5, dice.choice(["CALL", "TALK"])
    people = []
    for name in "abc"[: dice.choice([2, 2, 3])]:
        own = api if dice.random() < 0.8 else dice.choice(apis)
        if any(kind.startswith("old") for kind, *_ in beginning):
            own = "chat"
        person = Person(dice, name, own, [*beginning, ("user", f"hi {then}")])
        dress(person, dice, tools)
        people.append(person)
    return people


BEGINNINGS = [
    [],
    [("system", SYSTEM)],
    [("system", SYSTEM), ("user", "hello"), ("late", "In /work.")],
    [("user", "hello"), ("late", "In /work."), ("assistant", "Sure.", [])],
    [
        ("system", SYSTEM),
        ("user", "Save it."),
        ("assistant", "", [("call_1", "save", "{}")]),
        ("result", "ok", "call_1"),
    ],
    [("user", "Save it."), ("old call", "{}", "save"), ("old result", "ok", "save")],
]


def dress(person, dice, tools):
    """What differs from the others': a text or two, tools, a demand, names."""
    for _ in range(dice.choice([0, 1, 1, 2])):
        person.change(dice.randrange(len(person.items)))
    if tools and dice.random() < 0.8:
        described = "Saves." if dice.random() < 0.7 else person.word()
        if person.api == "chat" and dice.random() < 0.2:
            person.fields["functions"] = [{"name": "save", "description": described}]
        else:
            person.fields["tools"] = [tool_for(person.api, described)]
    if dice.random() < 0.15:
        person.fields |= demanding_json(person.api, dice.choice(["Same.", person.word()]))
    if dice.random() < 0.2:
        person.fields["metadata" if person.api == "messages" else "user"] = (
            {"user_id": "one"} if person.api == "messages" else dice.choice(["one", person.name])
        )
    if dice.random() < 0.2:
        person.headers = {**AGENT, "session-id": UUID % dice.randrange(2) if dice.random() < 0.3 else "the same"}
        if person.headers["session-id"] != "the same":
            person.headers["session-id"] = UUID % ord(person.name)
            person.proven = True


def lines(*texts, mark):
    """What is said in a prompt, without headings and rules of a turn."""
    said = [re.sub(rf"^\[\w+ {mark}[^\]]*\] ?", "", line) for text in texts for line in text.split("\n")]
    said = [CALLED.sub(r"\1", line) for line in said]
    return {line for line in said if line.strip() and not line.startswith(RULES)}


def whole(request, mark):
    """All that the request has to tell."""
    tools = contract(
        request.tools, request.tool_choice, parallel=request.parallel_tool_calls, nonce=mark
    )  # fmt: skip
    return whole_prompt(request.messages, mark, tools, request.reply_schema)


def check(person, request, told):
    """Told is everything that the session of this turn was told and said before the answer."""
    words = set(WORD.findall("\n".join(told)))
    if person.proven:
        assert {word.rpartition("of")[2] for word in words} <= {person.name}
        assert {word for each in request.messages for word in WORD.findall(each.text)} <= words
        return
    marks = re.findall(r"^\[\w+ (\w{10})", "\n".join(told), re.MULTILINE)
    mark = marks[0] if marks else "0123456789"
    assert lines(*told, mark=mark) == lines(whole(request, mark), mark=mark)


@pytest.fixture
async def book():
    return Book()


@pytest.fixture
async def engine(new_engine, new_service, sessions, book):
    return await new_engine(await new_service(book.on_ask), sessions=sessions)


async def turn(engine, service_book, person, dice):
    """One more of the person's turns, checked; whether it went on in a session."""
    request = person.request()
    before = {session: len(told) for session, told in service_book.told.items()}
    done = await chat(engine, request)
    [session] = [each for each, told in service_book.told.items() if len(told) != before.get(each, 0)]
    reused = done.record.session == "reused"
    assert reused == (session in before)
    if reused:
        check(person, request, service_book.told[session][: before[session] + 1])  # an answer may be corrected
    person.hear(done.events, dice.choice(["CALL", "TALK"]))
    return reused, person.proven


@pytest.mark.parametrize("seed", range(4))
async def test_no_session_holds_more_than_its_request(engine, book, seed):
    dice, seen = random.Random(seed), []
    for _ in range(60):
        people = a_few_people(dice)
        turns = [person for person in people for _ in range(3)]
        dice.shuffle(turns)
        for person in turns:
            if dice.random() < 0.25:
                person.change(dice.randrange(len(person.items)))
            seen.append(await turn(engine, book, person, dice))
    assert seen.count((True, False)) > 40
    assert seen.count((True, True)) > 40
