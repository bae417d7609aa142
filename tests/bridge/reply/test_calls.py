"""Tool calls in the text of a reply: what models write, and what is sent of it."""

import json

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from bridge.chat.events import TextDelta, ToolCallDelta, ToolCallEnded, ToolCallStarted
from bridge.chat.request import Tool
from bridge.prompt.compose import headings
from bridge.reply.calls.block import MOST_HELD
from bridge.reply.calls.marked import BrokenArguments, MalformedCall
from tests.bridge.reply.notations import ARGUMENTS, FORMS, SCHEMA
from tests.bridge.reply.streams import CLOSE, DELIMITER_ID, OPEN, TOOLS, cut, fed, merged, parser, sliced


def call(arguments, number=1, name="Bash", custom=False):
    """The events of a whole call."""
    return [ToolCallStarted(f"call_{number}", name, "", custom), ToolCallDelta(arguments), ToolCallEnded()]


def text(sent):
    return [TextDelta(sent)]


LS = '{"cmd":"ls"}'
PLAIN = f'{{"name":"Bash","arguments":{LS}}}'
STRING = json.dumps(LS)

CALLS = {
    "the format of the contract": (OPEN + PLAIN + CLOSE, call(LS)),
    "text before and after": (f"Look:\n\n{OPEN}{PLAIN}{CLOSE}\nDone.", [*text("Look:"), *call(LS), *text("\n\nDone.")]),
    "text glued to the delimiters": (f"a{OPEN}{PLAIN}{CLOSE}b", [*text("a"), *call(LS), *text("b")]),
    "white space everywhere": (f'{OPEN}\n{{ "name" : "Bash" ,\n"arguments" : {{ "cmd" : "ls" }} }}\n{CLOSE}', call(LS)),
    "two in a row": (f"{OPEN}{PLAIN}{CLOSE}\n\n{OPEN}{PLAIN}{CLOSE}\n", [*call(LS), *call(LS, 2)]),
    "two objects in one block": (f"{OPEN}{PLAIN}\n{PLAIN}{CLOSE}", [*call(LS), *call(LS, 2)]),
    "a list in one block": (f"{OPEN}[{PLAIN}, {PLAIN}]{CLOSE}", [*call(LS), *call(LS, 2)]),
    "no closing delimiter": (OPEN + PLAIN, call(LS)),
    "no closing delimiter before text": (f"{OPEN}{PLAIN}\nSo", [*call(LS), *text("So")]),
    "no closing delimiter before the next": (f"{OPEN}{PLAIN}\n{OPEN}{PLAIN}{CLOSE}", [*call(LS), *call(LS, 2)]),
    "a closing delimiter without its id": (f"{OPEN}{PLAIN}</call> x", [*call(LS), *text("x")]),
    "a brace missing": (f'{OPEN}{{"name":"Bash","arguments":{{"cmd":"ls"}}{CLOSE}x', [*call(LS), *text("x")]),
    "two braces missing": (f'{OPEN}{{"name":"Bash","arguments":{{"cmd":"ls"{CLOSE}x', [*call(LS), *text("x")]),
    "a brace too many": (f"{OPEN}{PLAIN}}}{CLOSE}x", [*call(LS), *text("x")]),
    "a json fence": (f"a\n```json\n{PLAIN}\n```\n", [*text("a"), *call(LS)]),
    "a json action fence": (f"```json action\n{PLAIN}\n```", call(LS)),
    "a tool_call fence": (f"```tool_call\n{PLAIN}\n```", call(LS)),
    "a plain fence": (f"```\n{PLAIN}\n```\n", call(LS)),
    "a fence around them": (f"a\n```xml\n{OPEN}{PLAIN}{CLOSE}\n```\nb", [*text("a"), *call(LS), *text("\nb")]),
    "behind the end of a fence": (f"```sh\na\n```\n{OPEN}{PLAIN}{CLOSE}", [*text("```sh\na\n```"), *call(LS)]),
    "the model's native tags": (f"<tool_call>\n{PLAIN}\n</tool_call>", call(LS)),
    "native tags in a row": (f"<tool_call>{PLAIN}</tool_call>\n<tool_call>{PLAIN}", [*call(LS), *call(LS, 2)]),
    "typographic quotes": (f"{OPEN}{{“name”: “Bash”, “arguments”: {{“cmd”: “ls”}}}}{CLOSE}", call(LS)),
    "typographic quotes inside": (f'{OPEN}{{"name":"Bash","arguments":{{"a":"“x”"}}}}{CLOSE}', call('{"a":"“x”"}')),
    "straight quotes inside typographic": (
        f'{OPEN}{{"name":"Bash","arguments":{{“a”: “say "x" so”}}}}{CLOSE}',
        call(r'{"a":"say \"x\" so"}'),
    ),
    "single quotes": (
        f"{OPEN}{{'name':'Bash','arguments':{{'a':'it\\'s \"x\"'}}}}{CLOSE}",
        call(json.dumps({"a": "it's \"x\""}, separators=(",", ":"))),
    ),
    "trailing commas": (f'{OPEN}{{"name":"Bash","arguments":{{"a":[1,2,],}},}}{CLOSE}', call('{"a":[1,2]}')),
    "a missing comma": (f'{OPEN}{{"name":"Bash" "arguments":{{"a":1 "b":2}}}}{CLOSE}', call('{"a":1,"b":2}')),
    "a raw line end in a string": (f'{OPEN}{{"name":"Bash","arguments":{{"a":"x\ny"}}}}{CLOSE}', call(r'{"a":"x\ny"}')),
    "an unknown escape": (f'{OPEN}{{"name":"Bash","arguments":{{"a":"\\d\\u12"}}}}{CLOSE}', call(r'{"a":"\\d\\u12"}')),
    "words of Python": (f'{OPEN}{{"name":"Bash","arguments":{{"a":[True,None]}}}}{CLOSE}', call('{"a":[true,null]}')),
    "arguments as a string": (f'{OPEN}{{"name":"Bash","arguments":{STRING}}}{CLOSE}', call(LS)),
    "arguments as an empty string": (f'{OPEN}{{"name":"Bash","arguments":""}}{CLOSE}', call("{}")),
    "arguments as an empty list": (f'{OPEN}{{"name":"Bash","arguments":[]}}{CLOSE}', call("{}")),
    "arguments null": (f'{OPEN}{{"name":"Bash","arguments":null}}{CLOSE}', call("{}")),
    "no arguments": (f'{OPEN}{{"name":"Bash"}}{CLOSE}', call("{}")),
    "parameters": (f'{OPEN}{{"tool":"Bash","parameters":{LS}}}{CLOSE}', call(LS)),
    "input": (f'{OPEN}{{"type":"tool_use","id":"1","name":"Bash","input":{LS}}}{CLOSE}', call(LS)),
    "args": (f'{OPEN}{{"function":"Bash","args":{LS}}}{CLOSE}', call(LS)),
    "a function object": (
        f'{OPEN}{{"type":"function","function":{{"name":"Bash","arguments":{STRING}}}}}{CLOSE}',
        call(LS),
    ),
    "members as arguments": (f'{OPEN}{{"tool":"Bash","cmd":"ls"}}{CLOSE}', call(LS)),
    "a member called like a tool's name": (f'{OPEN}{{"tool":"Bash","name":"x"}}{CLOSE}', call('{"name":"x"}')),
    "arguments before the name": (f'{OPEN}{{"arguments":{LS},"name":"Bash"}}{CLOSE}', call(LS)),
    "a string of arguments before the name": (f'{OPEN}{{"arguments":{STRING},"name":"Bash"}}{CLOSE}', call(LS)),
    "a delimiter inside a string": (
        f'{OPEN}{{"name":"Bash","arguments":{{"a":"{CLOSE}{OPEN}```"}}}}{CLOSE}',
        call(f'{{"a":"{CLOSE}{OPEN}```"}}'),
    ),
    "another language": (f'{OPEN}{{"name":"Bash","arguments":{{"a":"你好 😀"}}}}{CLOSE}', call('{"a":"你好 😀"}')),
    "cut off behind a string": (f'{OPEN}{{"name":"Bash","arguments":{{"cmd":"ls"', call(LS)),
    "cut off behind the arguments": (f'{OPEN}{{"name":"Bash","arguments":{LS}', call(LS)),
    "cut off in the closing delimiter": (f"{OPEN}{PLAIN}{CLOSE[:7]}", call(LS)),
    "cut off behind a word": (f'{OPEN}{{"name":"Bash","arguments":{{"a":true', call('{"a":true}')),
}  # fmt: skip


@pytest.mark.parametrize("case", CALLS)
@pytest.mark.parametrize("size", [1, 7, 10_000])
def test_call_is_understood_in_all_spellings_and_slicings(case, size):
    written, events = CALLS[case]
    reader = parser()
    assert merged(fed(reader, sliced(written, size))) == events
    assert not reader.cut_off


AS_TEXT = {
    "ordinary text": "Hello, <b>you</b> `x` ``y``",
    "white space at the end": "Hello\n\n",
    "code": '```python\nx = {"name": "Bash"}\n```\n',
    "an object in a fence": '```json\n{"a": 1, "b": [2]}\n```\n',
    "a name without arguments in a fence": '```json\n{"name": "Bash", "version": "1"}\n```\n',
    "an unknown tool in a fence": '```json\n{"name": "rm", "arguments": {}}\n```\n',
    "an unknown tool in native tags": '<tool_call>{"name": "rm", "arguments": {}}</tool_call>',
    "native tags around nothing": "<tool_call> is a tag",
    "a longer fence": f"````json\n{PLAIN}\n````",
    "another id": f"<call:aaaaaaaaaa>{PLAIN}</call:aaaaaaaaaa>",
    "a name that comes too late": f'```json\n{{"x": "{"y" * 400}", "name": "Bash", "arguments": {{}}}}\n```',
    "an unfinished fence": 'Look:\n```json\n{"name": "Ba',
    "a fence of other words": '```json is nice {"name": "Bash", "arguments": {}}',
    "a list in brackets": "``` [see below] ```",
}


@pytest.mark.parametrize("case", AS_TEXT)
@pytest.mark.parametrize("size", [1, 7, 10_000])
def test_text_without_calls_stays_as_written(case, size):
    assert merged(fed(parser(), sliced(AS_TEXT[case], size))) == text(AS_TEXT[case])


MALFORMED = {
    "no JSON": (f"{OPEN}hello{CLOSE}", "", "a JSON object is expected"),
    "no name": (f'{OPEN}{{"arguments":{{}}}}{CLOSE}', "", "names no tool"),
    "arguments of another kind": (f'{OPEN}{{"name":"Bash","arguments":[1]}}{CLOSE}', "Bash", "no JSON object"),
    "arguments of plain words": (f'{OPEN}{{"name":"Bash","arguments":"ls"}}{CLOSE}', "Bash", "no JSON object"),
    "a custom tool without input": (f'{OPEN}{{"name":"apply_patch","arguments":{{}}}}{CLOSE}', "apply_patch", "input"),
    "cut off before the name": (f'{OPEN}{{"name":"Ba', "", "cut off"),
    "cut off before the arguments": (f'{OPEN}{{"name":"Bash","argu', "Bash", "cut off"),
    "a key without value": (f'{OPEN}{{"name"}}{CLOSE}', "", "a colon is missing"),
}  # fmt: skip


@pytest.mark.parametrize("case", MALFORMED)
@pytest.mark.parametrize("size", [1, 3, 10_000])
def test_unsent_malformed_block_is_reported(case, size):
    written, name, reason = MALFORMED[case]
    reader = parser()
    [malformed] = fed(reader, sliced(written, size))
    assert isinstance(malformed, MalformedCall)
    assert (malformed.name, malformed.source) == (name, written)
    assert reason in malformed.reason
    assert not reader.cut_off


def test_text_behind_a_malformed_block_is_sent():
    first, *rest = fed(parser(), [f"{OPEN}nonsense{CLOSE}\nBut this."])
    assert isinstance(first, MalformedCall)
    assert rest == text("But this.")


@pytest.mark.parametrize("size", [1, 4, 10_000])
@pytest.mark.parametrize("end", ['"ls', '"ls","b"', '"ls","b":', '"ls",', "12", '["x",', '{"y"'])
def test_cut_off_call_has_no_end(end, size):
    reader = parser()
    events = merged(fed(reader, sliced(f'{OPEN}{{"name":"Bash","arguments":{{"cmd":{end}', size)))
    assert [type(event) for event in events] == [ToolCallStarted, ToolCallDelta]
    assert reader.cut_off


@pytest.mark.parametrize("size", [1, 46, 10_000])
def test_begun_call_behind_a_tick_stays_one(size):
    reader = parser()
    events = merged(fed(reader, sliced(f'`{OPEN}{{"name":"Bash","arguments":{{{OPEN}', size)))
    assert events[:3] == [TextDelta("`"), ToolCallStarted("call_1", "Bash"), ToolCallDelta("{")]
    assert [type(event) for event in events[3:]] == [BrokenArguments, ToolCallEnded, TextDelta]


@pytest.mark.parametrize("size", [1, 4, 10_000])
@pytest.mark.parametrize("end", ["}}", "}}\n", "}", ""])
def test_garbage_in_sent_arguments_is_sent_whole(size, end):
    reader = parser()
    text = f'{OPEN}{{"name":"Bash","arguments":{{"cmd":"l"s"  {{x" {end}{CLOSE} and more'
    started, begun, broken, rest, ended, said = merged(fed(reader, sliced(text, size)))
    assert (started, begun) == (ToolCallStarted("call_1", "Bash"), ToolCallDelta('{"cmd":"l"'))
    assert broken == BrokenArguments("a comma or '}' is expected instead of 's'")
    assert rest.text == f's"  {{x" {end}'.rstrip().removesuffix("}")
    assert (ended, said, reader.cut_off) == (ToolCallEnded(), TextDelta("and more"), False)


@pytest.mark.parametrize("size", [1, 4, 10_000])
@pytest.mark.parametrize(("end", "is_cut"), [("}}", False), ("", True), (CLOSE[:9], True), (f"}}}}{CLOSE[:9]}", False)])
def test_garbage_without_the_closing_mark_may_be_all(size, end, is_cut):
    reader = parser()
    events = merged(fed(reader, sliced(f'{OPEN}{{"name":"Bash","arguments":{{"cmd":"l"s{end}', size)))
    assert (type(events[-1]), reader.cut_off) == (ToolCallDelta if is_cut else ToolCallEnded, is_cut)
    assert events[3].text == ("s" if is_cut else "s}")


PATCH = "*** Begin\n+“x” 😀\\n\n"
INPUT = json.dumps({"input": PATCH})
CUSTOM = {
    "as sent": f'{{"name":"apply_patch","arguments":{INPUT}}}',
    "the input at the top": f'{{"name":"apply_patch","input":{json.dumps(PATCH)}}}',
    "arguments are the text": f'{{"name":"apply_patch","arguments":{json.dumps(PATCH)}}}',
    "arguments are JSON in a string": f'{{"name":"apply_patch","arguments":{json.dumps(INPUT)}}}',
    "before the name": f'{{"arguments":{INPUT},"name":"apply_patch"}}',
    "before the name in a string": f'{{"arguments":{json.dumps(" " + INPUT)},"name":"apply_patch"}}',
    "under another key": f'{{"name":"apply_patch","patch":{json.dumps(PATCH)}}}',
    "with other members": f'{{"name":"apply_patch","arguments":{{"why":["x"],{INPUT[1:-1]},"z":{{}}}}}}',
}


@pytest.mark.parametrize("case", CUSTOM)
@pytest.mark.parametrize("size", [1, 2, 10_000])
def test_a_custom_tool_is_given_plain_text(case, size):
    events = merged(fed(parser(), sliced(OPEN + CUSTOM[case] + CLOSE, size)))
    assert events == call(PATCH, name="apply_patch", custom=True)


@pytest.mark.parametrize("given", ['{"in', '{"inputs": 1}', "{", "", " { x"])
@pytest.mark.parametrize("size", [1, 10_000])
def test_text_beginning_like_json_is_sent(given, size):
    written = json.dumps({"name": "apply_patch", "arguments": given})
    events = fed(parser(), sliced(OPEN + written + CLOSE, size))
    assert "".join(event.text for event in events if isinstance(event, ToolCallDelta)) == given
    assert isinstance(events[-1], ToolCallEnded)


def test_call_has_the_name_that_client_knows():
    [started, *_] = fed(parser(), [f'{OPEN}{{"name":"stat__x","arguments":{{}}}}{CLOSE}'])
    assert started == ToolCallStarted("call_1", "stat", "fs")


def test_text_streams_at_once():
    reader = parser()
    assert [reader.feed(piece) for piece in ("Hello", ", world", " a < b")] == [
        text("Hello"),
        text(", world"),
        text(" a < b"),
    ]


def test_name_and_arguments_stream_while_they_arrive():
    reader = parser()
    pieces = [OPEN + '{"name":"Bash",', '"arguments":{"cmd":"ec', "ho ", 'hi"', "}}", CLOSE]
    assert [reader.feed(piece) for piece in pieces] == [
        [],
        [ToolCallStarted("call_1", "Bash"), ToolCallDelta('{"cmd":"ec')],
        [ToolCallDelta("ho ")],
        [ToolCallDelta('hi"')],
        [ToolCallDelta("}"), ToolCallEnded()],
        [],
    ]


def test_arguments_in_a_string_stream_too():
    reader = parser()
    reader.feed(OPEN + '{"name":"Bash","arguments":"{')
    assert merged(reader.feed('\\"cmd\\":\\"ec')) == [ToolCallDelta('"cmd":"ec')]


def test_nameless_arguments_are_held_only_so_far():
    reader = parser()
    events = reader.feed(OPEN + '{"arguments":{"a":"')
    for _ in range(40):
        events += reader.feed("x" * 10_000)
    [malformed] = events + reader.end()
    assert isinstance(malformed, MalformedCall)
    assert len(malformed.source) <= MOST_HELD + len(OPEN)


UNKNOWN = f'{OPEN}{{"name": "rm", "arguments": {{"a": "{OPEN}"}}}}{CLOSE}'


@pytest.mark.parametrize("size", [1, 3, 10_000])
def test_call_of_unknown_tool_is_never_shown(size):
    before, malformed, after = merged(fed(parser(), sliced(f"Look.\n{UNKNOWN}\nSo.", size)))
    assert (before, after) == (TextDelta("Look."), TextDelta("\nSo."))
    assert (malformed.name, malformed.reason) == ("rm", "there is no such tool")


@pytest.mark.parametrize("end", ["", '{"name":"rm","arguments":{"a":"', '{"name":"rm","arguments":oops', "{"])
@pytest.mark.parametrize("size", [1, 10_000])
def test_unusable_block_leaves_no_mark(end, size):
    events = fed(parser(), sliced(f"Look: {OPEN}{end}", size))
    assert DELIMITER_ID not in "".join(event.text for event in events if isinstance(event, TextDelta))
    assert isinstance(events[-1], MalformedCall)


@pytest.mark.parametrize("size", [1, 2, 10_000])
@pytest.mark.parametrize(
    ("written", "sent"),
    [
        (f"Calls begin with `{OPEN}` and end with `{CLOSE}`.", "Calls begin with `<call>` and end with `</call>`."),
        (f"Done.{CLOSE} Or not.", "Done. Or not."),
        (f"Look: {OPEN[:8]}", "Look: "),
        (f"Look: {CLOSE[:-1]}", "Look: "),
        ("a <call", "a <call"),
    ],
)
def test_secret_of_a_mentioned_mark_is_hidden(written, sent, size):
    assert merged(fed(parser(), sliced(written, size))) == text(sent)


def test_a_call_in_inline_code_is_a_call():
    assert merged(fed(parser(), [f"`{OPEN}{PLAIN}{CLOSE}`"])) == [*text("`"), *call(LS), *text("`")]


@pytest.mark.parametrize("size", [1, 3, 10_000])
@pytest.mark.parametrize(
    ("around", "sent"),
    [
        (("Look.\n\n", "\n\nSo."), "Look.\n\nSo."),
        (("Look. ", "So."), "Look. So."),
        (("Look.", "\nSo.\n"), "Look.\nSo.\n"),
        (("\n", "\nSo."), "So."),
        (("Look.\n", "\n"), "Look."),
    ],
)
def test_white_space_around_calls_is_kept_between_texts(around, sent, size):
    events = merged(fed(parser(), sliced(f"{OPEN}{PLAIN}{CLOSE}".join(around), size)))
    assert "".join(event.text for event in events if isinstance(event, TextDelta)) == sent


@pytest.mark.parametrize("form", ["Qwen3-Coder", "MiniMax M2", "Kimi K2", "DeepSeek V3.1"])
@pytest.mark.parametrize("size", [1, 10_000])
def test_foreign_notation_between_marks_is_a_call(form, size):
    tools = (Tool("Bash", schema=SCHEMA),)
    events = merged(fed(parser(tools, guesses=False), sliced(f"{OPEN}\n{FORMS[form]}\n{CLOSE} So.", size)))
    assert [type(event) for event in events] == [ToolCallStarted, ToolCallDelta, ToolCallEnded, TextDelta]
    assert json.loads(events[1].text) == ARGUMENTS


HEADINGS = headings(DELIMITER_ID)


@pytest.mark.parametrize("size", [1, 7, 10_000])
@pytest.mark.parametrize("heading", HEADINGS)
def test_text_behind_a_session_heading_is_unsent(heading, size):
    written = f"Yes.\n\n{heading}]\nAnd now?\n{OPEN}{PLAIN}{CLOSE}"
    assert merged(fed(parser(headings=HEADINGS), sliced(written, size))) == text("Yes.")
    assert merged(fed(parser(headings=HEADINGS), sliced(written[6:], size))) == []


@pytest.mark.parametrize("size", [1, 3, 10_000])
@pytest.mark.parametrize(
    "heading", ["[User]", "[Result of tool call call_1: Bash]", "[Failed tool call x]", "[Assistant]"]
)
def test_heading_like_lines_behind_a_call_end_it(heading, size):
    reply = f"{OPEN}{PLAIN}{CLOSE}\n{heading}\nfile.txt\n\n{OPEN}{PLAIN}{CLOSE}"
    assert merged(fed(parser(headings=HEADINGS), sliced(reply, size))) == call(LS)


@pytest.mark.parametrize("size", [1, 3, 10_000])
@pytest.mark.parametrize(
    "written",
    [
        "a\n[User]\nb",
        f"see [User {DELIMITER_ID}]",
        f" [User {DELIMITER_ID}]",
        "a\n[User k3x9]",
        "[Use",
        "a\n[System",
        "[x](y)\n[z]: w",
    ],
)
def test_text_unlike_a_heading_is_sent(written, size):
    assert merged(fed(parser(headings=HEADINGS), sliced(written, size))) == text(written)


def test_arguments_may_hold_a_heading():
    written = f'{OPEN}{{"name":"Bash","arguments":{{"cmd":"a\n{HEADINGS[0]}]\nb"}}}}{CLOSE}'
    [_, delta, _] = merged(fed(parser(headings=HEADINGS), [written]))
    assert json.loads(delta.text) == {"cmd": f"a\n{HEADINGS[0]}]\nb"}


MARKS = st.sampled_from(
    [
        *(OPEN, CLOSE, "<tool_call>", "</tool_call>", "```json\n", "```\n", "```", "`", "<", "\n", " ", "</call>"),
        *('{"name":"Bash","arguments":{', '"name":', '"Bash"', '"arguments":', '"input":', '"apply_patch"', '"rm"'),
        *("{", "}", "[", "]", ",", ":", '"', "\\", "\\u", "\\ud83d", "\\ude00", "“", "”", "'", "1", "true", "-", "e"),
        *('"a":1', "x", "好", '{"name":"apply_patch","arguments":{"input":"', "\x00", "\u2028", '\\"', '"}}'),
        *(PLAIN, f"{OPEN}{PLAIN}{CLOSE}", DELIMITER_ID, '"function":{', "null"),
        *('"{\\"a\\":1}"', '"{\\"input\\":\\"x\\"}"'),
    ]
)
REPLIES = st.one_of(
    st.sampled_from([*(written for written, _ in CALLS.values()), *AS_TEXT.values()]),
    st.lists(MARKS, max_size=14).map("".join),
    st.lists(MARKS, max_size=8).map(lambda marks: OPEN + "".join(marks)),
    st.lists(MARKS, max_size=8).map(lambda marks: OPEN + '{"name":"Bash","arguments":{' + "".join(marks)),
)


@settings(deadline=None)
@given(REPLIES, st.data())
def test_events_do_not_depend_on_stream_slicing(reply, data):
    whole, some, single = parser(), parser(), parser()
    expected = merged(fed(whole, [reply]))
    assert merged(fed(some, cut(reply, data))) == expected
    assert merged(fed(single, reply)) == expected
    assert whole.cut_off == some.cut_off == single.cut_off


@settings(deadline=None)
@given(REPLIES)
def test_calls_before_the_last_are_complete(reply):
    reader = parser()
    events = merged(fed(reader, [reply]))
    open_call, arguments, is_broken = None, "", False
    for event in events:
        if isinstance(event, ToolCallStarted):
            open_call, arguments, is_broken = event, "", False
        elif isinstance(event, ToolCallDelta):
            arguments = event.text
        elif isinstance(event, BrokenArguments):
            is_broken = True
        elif isinstance(event, ToolCallEnded):
            assert is_broken or open_call.custom or isinstance(json.loads(arguments), dict)
            open_call, is_broken = None, False
        else:
            assert open_call is None
    assert reader.cut_off == (open_call is not None)


@settings(deadline=None)
@given(st.text(max_size=200))
def test_text_without_markers_stays_as_it_is(reply):
    assert "".join(event.text for event in fed(parser(), reply)) == reply


SCALARS = st.text() | st.integers() | st.none() | st.booleans() | st.floats(allow_nan=False, allow_infinity=False)
ANY_ARGUMENTS = st.dictionaries(
    st.text(max_size=5), st.recursive(SCALARS, lambda value: st.lists(value, max_size=3)), max_size=4
)


@settings(max_examples=60, deadline=None)
@given(ANY_ARGUMENTS, st.booleans(), st.data())
def test_any_arguments_survive(arguments, ascii_only, data):
    written = json.dumps({"name": "Bash", "arguments": arguments}, ensure_ascii=ascii_only)
    _, delta, _ = merged(fed(parser(), cut(OPEN + written + CLOSE, data)))
    assert json.loads(delta.text) == arguments


@pytest.mark.parametrize(
    "unit", [*"<`{[ \n\"\\'“", OPEN, "```", "```json\n{", "<tool_call>[", '{"a":', "[[", "</call:", '\\"']
)
@pytest.mark.parametrize("start", ["", OPEN, OPEN + '{"name":"Bash","arguments":{"a":', OPEN + '{"name":"rm","b":"'])
def test_text_held_by_the_parser_is_bounded(unit, start):
    reader = parser()
    sent = 0
    for piece in [start, *[unit * 100] * 60]:
        sent += sum(len(event.text) for event in reader.feed(piece) if isinstance(event, TextDelta | ToolCallDelta))
    held = sum(len(event.text) for event in reader.end() if isinstance(event, TextDelta))
    assert held <= 500
    assert sent <= len(start) + len(unit) * 12_000


def test_tools_are_all_found_by_their_own_name():
    for tool in TOOLS:
        written = json.dumps({"name": tool.name, "arguments": {"input": "x"}})
        [started, *_] = fed(parser(), [OPEN + written + CLOSE])
        assert started.name == (tool.wire_name or tool.name)


def test_instructions_of_tools_with_namespace_hold():
    [started, *_] = fed(
        parser([Tool("a", wire_name="b", namespace="n", custom=True)]), [f'{OPEN}{{"tool":"a","args":"x"}}']
    )
    assert started == ToolCallStarted("call_1", "b", "n", True)


@pytest.mark.parametrize("size", [1, 7, 10_000])
@pytest.mark.parametrize(
    ("written", "sent"),
    [
        (f"a {OPEN[:-1]} x> b", None),
        (f"a {OPEN[:-1]}\n{PLAIN}{CLOSE}", [*text("a"), *call(LS)]),
        (f"{OPEN[:-1]}{PLAIN}{CLOSE[:-1]} x", [*call(LS), *text("x")]),
        (f"{OPEN}{PLAIN}{CLOSE[:-1]}/> x", [*call(LS), *text("/> x")]),
        (f"a {CLOSE[:-1]} x", text("a  x")),
        (f"Write `{OPEN[:-1]} ...` so", text("Write `<call> ...` so")),
        (f'a {OPEN[:-1]} name="Bash">{LS}{CLOSE}', None),
        (f'a {OPEN[:-1]} name="Bash">{LS}{CLOSE[:-1]}', None),
    ],
)
def test_incomplete_mark_shows_no_secret(written, sent, size):
    events = merged(fed(parser(), sliced(written, size)))
    assert DELIMITER_ID not in "".join(event.text for event in events if isinstance(event, TextDelta))
    if sent is None:
        assert events[0] == TextDelta("a")
        assert isinstance(events[1], MalformedCall)
    else:
        assert events == sent
