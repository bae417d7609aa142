"""Whoever shares a key: nobody is ever answered in a session that was told something his own request does not say."""

import random
import re

import pytest

from bridge.prompt.compose import split_reply, whole_prompt
from bridge.prompt.tool_instructions import tool_instructions
from tests.bridge.chats import chat
from tests.bridge.strangers import SYSTEM, UUID, Book, Person, demanding_json, tool_for

WORD = re.compile(r"word\d+of\w+")
LATE = re.compile(r"lateword(\d+of\w+)")
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
    tools = tool_instructions(
        request.tools, request.tool_choice, parallel=request.parallel_tool_calls, delimiter_id=mark
    )  # fmt: skip
    return whole_prompt(request.messages, mark, tools, request.reply_schema)


def words_of(request):
    """All that is special in its messages; a billing header is told to nobody."""
    given = [call.arguments for message in request.messages for call in message.tool_calls]
    lines = [line for message in request.messages for line in message.text.split("\n")]
    return set(WORD.findall("\n".join([*given, *(each for each in lines if "x-anthropic-billing" not in each)])))


def check(person, request, told):
    """Told is everything that the session of this turn was told and said before the answer."""
    if person.proven:
        check_proven(person, request, "\n".join(told))
        return
    marks = re.findall(r"^\[\w+ (\w{10})", "\n".join(told), re.MULTILINE)
    mark = marks[0] if marks else "0123456789"
    assert lines(*told, mark=mark) == lines(whole(request, mark), mark=mark)


def check_proven(person, request, told):
    """Nothing of others, all of the request, none of the later system messages that it has withdrawn, its tools."""
    words, saying = set(WORD.findall(told)), words_of(request)
    assert words <= person.said
    assert saying <= words
    late = LATE.findall(told)
    assert {f"word{each}" for each in late} <= saying
    if request.tools and "[Tools " in told:
        assert set(WORD.findall(request.tools[0].description)) <= set(WORD.findall(told[told.rindex("[Tools ") :]))


def check_seen(request, seen):
    """The newest pictures before this question were shown."""
    pictured = [message for message in split_reply(request.messages)[0] if message.images]
    if pictured:
        assert set(pictured[-1].images) <= seen


@pytest.fixture
async def book():
    return Book()


@pytest.fixture
async def engine(new_engine, new_service, sessions, book):
    service = await new_service(book.on_ask)
    service.answers["image/upload"] = {"errorCode": None, "result": {"success": True}}
    service.on_upload = book.on_upload
    return await new_engine(service, sessions=sessions)


async def turn(engine, service_book, person, dice):
    """One more of the person's turns, checked; whether it went on in a session."""
    request = person.request()
    before = {session: len(told) for session, told in service_book.told.items()}
    seen = {session: set(shown) for session, shown in service_book.seen.items()}
    done = await chat(engine, request)
    [session] = [each for each, told in service_book.told.items() if len(told) != before.get(each, 0)]
    reused = done.record.session == "reused"
    assert reused == (session in before)
    if reused:
        check(person, request, service_book.told[session][: before[session] + 1])  # an answer may be corrected
        check_seen(request, seen[session])
    person.hear(done.events, dice.choice(["CALL", "TALK"]))
    return reused, person.proven


@pytest.mark.parametrize("seed", range(2))
async def test_sessions_hold_no_more_than_their_request(engine, book, seed):
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


async def common_beginning(engine, book, dice):
    """A conversation that has called a tool, now and then with something behind the call."""
    api = dice.choice(["chat", "messages", "responses"])
    root = Person(dice, "r", api, [("system", SYSTEM), ("user", "hi CALL")])
    root.fields["tools"] = [tool_for(api, "Saves.")]
    for then in dice.choice([["TALK"], ["TALK"], ["CALL", "TALK"], ["TALK", "TALK"], ["CALL"]]):
        await turn(engine, book, root, dice)
        root.items[-1] = ("user", then)
    assert root.proven
    return root


@pytest.mark.parametrize("seed", range(3))
async def test_forks_after_a_call_stay_apart(engine, book, seed):
    dice, seen = random.Random(seed), []
    book.takes = lambda: dice.random() < 0.8
    for _ in range(60):
        people = [await common_beginning(engine, book, dice)]
        people += [people[0].fork(name) for name in "ab"]
        for _ in range(8):
            person = dice.choice(people)
            for _ in range(dice.choice([0, 0, 1, 2])):
                person.stir()
            seen.append(await turn(engine, book, person, dice))
            if dice.random() < 0.1:
                people.append(person.fork(f"f{len(people)}"))
    assert seen.count((True, True)) > 100
