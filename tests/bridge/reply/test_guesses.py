"""Calls in notations of the models' own: read for what they are, and only where they are the model's own order."""

import html
import json
import re
import time
from urllib.parse import quote

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from bridge.chat.events import TextDelta, ToolCallDelta, ToolCallEnded, ToolCallStarted
from bridge.chat.request import Tool
from bridge.prompt.compose import headings
from bridge.reply.calls.cursor import MOST_TOKENS, TAG
from bridge.reply.guesses import MOST_HELD
from tests.bridge.reply.notations import ARGUMENTS, FORMS, OBJECT, SCHEMA
from tests.bridge.reply.streams import CLOSE, DELIMITER_ID, OPEN, cut, fed, merged, parser, sliced

BASH = Tool("Bash", schema=SCHEMA)
TOOLS = (BASH, Tool("ping"), Tool("patch", custom=True), Tool("read_file", wire_name="Read", namespace="fs"))
HEADINGS = headings(DELIMITER_ID)
SURE = f'{OPEN}{{"name":"ping","arguments":{{}}}}{CLOSE}'


def ping(**arguments):
    return json.dumps({"name": "ping", "arguments": arguments})


def read(written, size=10_000, **rules):
    """What is sent of a reply."""
    return merged(fed(parser(TOOLS, headings=HEADINGS, **rules), sliced(written, size)))


def text(sent):
    return [TextDelta(sent)]


def calls(events):
    """Names and arguments of the calls that were sent whole."""
    started = [event.name for event in events if isinstance(event, ToolCallStarted)]
    assert len(started) == sum(isinstance(event, ToolCallEnded) for event in events)
    return [*zip(started, [event.text for event in events if isinstance(event, ToolCallDelta)], strict=True)]


@pytest.mark.parametrize("form", FORMS)
@pytest.mark.parametrize("size", [1, 3, 10_000])
def test_the_notations_of_all_families_are_read(form, size):
    before, *events = read(f"Let me look.\n\n{FORMS[form]}\n", size)
    [(name, arguments)] = calls(events)
    assert (before, name, json.loads(arguments)) == (TextDelta("Let me look."), "Bash", ARGUMENTS)


@pytest.mark.parametrize("form", FORMS)
def test_several_calls_may_follow_each_other(form):
    assert len(calls(read(f"{FORMS[form]}\n{FORMS[form]}"))) == 2


@pytest.mark.parametrize("form", FORMS)
def test_call_with_text_around_is_text(form):
    written = FORMS[form]
    for end in range(1, len(written), 3):
        events = read(written[:end])
        assert events == text(written[:end]) or [json.loads(given) for _, given in calls(events)] == [ARGUMENTS]


@pytest.mark.parametrize(
    ("before", "behind"),
    [
        ("", "\nThat looks suspicious, so I will not run it."),
        ("The page says: ", ""),
        ("In the docs: `", "` is the syntax."),
        ("- ", ""),
        ("1. The page:\n   ", ""),
        ("> ", ""),
        ("> The page says\n", ""),
        ("Like this:\n```xml\n", "\n```"),
        ("Like this:\n~~~\n", ""),
        ("Like this:\n````\n", "\n````\n"),
        ("Like this:\n\n    ", ""),
        ("", f"\n{SURE}"),
        (f"{SURE}\n", ""),
    ],
)
def test_a_call_that_is_shown_is_text(before, behind):
    for form, written in FORMS.items():
        events = read(f"{before}{written}{behind}")
        assert written in "".join(event.text for event in events if isinstance(event, TextDelta)), form
        assert [name for name, _ in calls(events)] == ["ping"] * (SURE in before + behind), form


@pytest.mark.parametrize("form", FORMS)
@pytest.mark.parametrize("spelled", [lambda text: text, lambda text: re.sub(r"\s+", "", text)])
def test_call_quoted_from_the_request_is_text(form, spelled):
    said = f"Please read:\n{spelled(FORMS[form])}\n"
    assert read(f"Sure.\n{FORMS[form]}", texts=lambda: ["Hello", said]) == text(f"Sure.\n{FORMS[form]}")


def numbered(text):
    return "\n".join(f"{number:6}→{line}" for number, line in enumerate(text.split("\n"), 9))


def codes(text):
    units = text.encode("utf-16-be").hex()
    return "".join(f"\\u{units[at : at + 4]}" for at in range(0, len(units), 4))


ESCAPED = {
    "JSON": json.dumps,
    "JSON, nothing but ASCII in HTML": lambda text: json.dumps(text).replace("<", "\\u003c").replace(">", "\\u003e"),
    "JSON in JSON": lambda text: json.dumps({"stdout": json.dumps({"text": text}, ensure_ascii=False)}),
    "HTML": html.escape,
    "HTML in JSON": lambda text: json.dumps(html.escape(text)).replace("&", "\\u0026"),
    "HTML in HTML": lambda text: html.escape(html.escape(text)),
    "Python": lambda text: repr({"text": text}),
    "numbered lines": numbered,
    "found lines": lambda text: "\n".join(f"docs/a-b.md:{7}:{line}" for line in text.split("\n")),
    "a diff": lambda text: "\n".join(f"+{line}" for line in text.split("\n")),
    "a quotation in numbered lines": lambda text: numbered("> " + text.replace("\n", "\n> ")),
    "numbered lines in JSON": lambda text: json.dumps({"content": numbered(text)}),
    "JSON, nothing but codes": codes,
    "HTML, nothing but numbers": lambda text: "".join(f"&#{ord(each)};" for each in text),
    "HTML, letters as numbers": lambda text: re.sub("[a-z]", lambda each: f"&#x{ord(each[0]):x};", text),
    "the codes of codes": lambda text: codes(text).replace("\\", "\\u005c"),
    "a URL": quote,
    "capitals": str.upper,
    "typographic quotes": lambda text: re.sub('"([^"]*)"', "“\\1”", text),
    "single quotes": lambda text: text.replace('"', "'"),
    "letters nobody sees": lambda text: text.replace("a", "\u200ba\u00ad"),
    "lines numbered by cat in JSON": lambda text: json.dumps({"output": numbered(text).replace("→", "\t")}),
}


@pytest.mark.parametrize("spelled", ESCAPED.values(), ids=ESCAPED)
def test_call_quoted_in_another_spelling_is_text(spelled):
    for form, written in FORMS.items():
        said = [f"# README\n\nA tool call:\n{spelled(written)}\nThat is all.\n"]
        assert read(f"Sure.\n{written}", texts=said.copy) == text(f"Sure.\n{written}"), form


@pytest.mark.parametrize("form", FORMS)
@pytest.mark.parametrize("said", FORMS)
def test_call_quoted_in_another_notation_is_text(form, said):
    texts = [f"The page says:\n{FORMS[said]}\nThat is all."]
    assert read(FORMS[form], texts=texts.copy) == text(FORMS[form])


@pytest.mark.parametrize("spelled", ESCAPED.values(), ids=ESCAPED)
@pytest.mark.parametrize(
    "value", ["C:\\new\\x\\Users\\evil", 'say \\"12\\"\n+ 3\n# 天气 \U0001f600 &lt;b>\n\n- \\u00e9']
)
def test_quoted_call_with_any_content_is_text(spelled, value):
    as_json = f"<tool_call>{json.dumps({'name': 'Bash', 'arguments': {'cmd': value}}, indent=2)}</tool_call>"
    for written in (as_json, f"<function=Bash>\n<parameter=cmd>\n{value}\n</parameter>\n</function>"):
        said = [spelled(f"So:\n{written}\nNo.")]
        assert read(written, texts=said.copy) == text(written)


def test_words_shared_with_request_make_no_quotation():
    said = "Bash: run the cmd ls -l and cat 'a b', with count 2 for all paths a and b (note: null is \"none\")\n" * 50
    assert len(calls(read(f"<tool_call>{OBJECT}</tool_call>", texts=lambda: [said, json.dumps(said)]))) == 1


def test_guesses_beyond_comparison_are_not_believed():
    written = f"<tool_calls>[{','.join(ping(host=f'{number} pings') for number in range(60))}]</tool_calls>"
    assert len(calls(read(written, texts=lambda: ["ping " * 200_000]))) == 60
    assert read(written, texts=lambda: ["ping " * 800_000]) == text(written)


def test_arguments_quoted_from_request_make_no_call():
    sent = '{"name": "ping", "arguments": {"host": "a b"}}'
    written = f"<tool_call>{sent}</tool_call>"
    assert read(written, texts=lambda: ['... {"host":"a b"} ...']) == text(written)
    assert calls(read(written, texts=lambda: ['{"host":"ab c"} {}'])) == [("ping", '{"host":"a b"}')]


def test_request_too_long_to_search_allows_no_guess():
    written = f"<tool_call>{OBJECT}</tool_call>"
    assert read(written, texts=lambda: ["x" * 100] * 50_000) == text(written)


@pytest.mark.parametrize("form", FORMS)
def test_guesses_are_text_where_not_counted(form):
    assert read(FORMS[form], guesses=False) == text(FORMS[form])


@pytest.mark.parametrize("form", FORMS)
@pytest.mark.parametrize("size", [1, 10_000])
def test_session_heading_ends_reply_behind_a_call(form, size):
    assert len(calls(read(f"{FORMS[form]}\n{HEADINGS[6]} Bash x]\nfile.txt\n{FORMS[form]}", size))) == 1


@pytest.mark.parametrize(
    "written",
    [
        '<tool_call>{"name":"ping"}</tool_call>',
        '<tool_call>{"name":"ping","arguments":[]}</tool_call>',
        '<tool_call>{"name":"ping","arguments":""}</tool_call>',
        '<tool_call>{"name":"ping","arguments":null}</tool_call>',
        '<tool_call>{"name":"functions.ping","parameters":{}}</tool_call>',
        "<tool_call>ping</tool_call>",
        "<tool_call><function=ping></function></tool_call>",
        '<invoke name="ping"></invoke>',
        "<｜tool▁call▁begin｜>ping<｜tool▁sep｜>{}",
    ],
)
def test_a_tool_without_parameters_is_called_without_arguments(written):
    assert calls(read(written)) == [("ping", "{}")]


@pytest.mark.parametrize(
    "written",
    [
        '<tool_call>{"name":"patch","arguments":{"input":"a\\nb"}}</tool_call>',
        "<function=patch>\n<parameter=input>\na\nb\n</parameter>\n</function>",
        '<invoke name="patch"><parameter name="patch">a\nb</parameter></invoke>',
    ],
)
def test_a_custom_tool_is_given_plain_text(written):
    [started, delta, _] = read(written)
    assert (started.custom, delta.text) == (True, "a\nb")


def test_namespace_tool_has_the_name_client_knows():
    [started, *_] = read("<tool_call>read_file<arg_key>path</arg_key><arg_value>a</arg_value></tool_call>")
    assert (started.name, started.namespace) == ("Read", "fs")


@pytest.mark.parametrize("inside", ["a </parameter> b", "</function>", "<parameter=x>", "<tool_call>", OBJECT, "`\n- "])
def test_tags_inside_a_parameter_belong_to_it(inside):
    written = f"<tool_call>\n<function=Bash>\n<parameter=cmd>\n{inside}\n</parameter>\n</function>\n</tool_call>"
    assert [json.loads(given) for _, given in calls(read(written))] == [{"cmd": inside}]


AS_TEXT = {
    "a tag spoken of": "<tool_call> is a tag",
    "an unknown tool": '<tool_call>{"name":"rm","arguments":{}}</tool_call>',
    "an unknown tool in tags": "<function=rm>\n</function>",
    "a name that only means the same": '```\n{"tool":"terminal","args":{"cmd":"rm -rf ~"}}\n```',
    "an object of data": '```json\n{"name": "ping", "version": "1"}\n```',
    "a name alone in a fence": '```json\n{"name": "ping"}\n```',
    "a parameter twice": "<function=Bash><parameter=cmd>a</parameter><parameter=cmd>b</parameter></function>",
    "words between parameters": "<function=Bash>x<parameter=cmd>a</parameter></function>",
    "garbage in the arguments": '<tool_call>{"name":"Bash","arguments":{"cmd":"l" s"}}</tool_call>',
    "arguments of another kind": '<tool_call>{"name":"Bash","arguments":[1]}</tool_call>',
    "an unmarked heading behind it": f"<tool_call>{OBJECT}</tool_call>\n[User]\nThanks.",
    "a cut second call": f"<tool_call>{OBJECT}</tool_call>\n<tool_call>\n",
    "tags in a tag": "see <tool_call>\n<function=ping></function></tool_call>",
}


@pytest.mark.parametrize("case", AS_TEXT)
@pytest.mark.parametrize("size", [1, 4, 10_000])
def test_incomplete_guess_is_text(case, size):
    assert read(AS_TEXT[case], size) == text(AS_TEXT[case])


def test_text_is_sent_once_it_cannot_be_call():
    reader = parser(TOOLS)
    assert reader.feed("Look:\n<tool_call>") == text("Look:")
    assert merged(reader.feed(" is a tag")) == text("\n<tool_call> is a tag")
    assert merged(reader.feed("\n```json\n" + json.dumps([{"id": n} for n in range(99)]))) != []


def test_call_is_withheld_until_the_reply_ends():
    reader = parser(TOOLS)
    assert reader.feed(FORMS["Qwen3-Coder"]) == reader.feed("\n") == []
    assert len(calls(merged(reader.end()))) == 1


@pytest.mark.parametrize("size", [1000, 300_000])
def test_call_larger_than_the_bound_is_text(size):
    written = f"<function=Bash>\n<parameter=cmd>\n{'x' * MOST_HELD}\n</parameter>\n</function>"
    reader = parser(TOOLS)
    events = [event for piece in sliced(written, size) for event in reader.feed(piece)]
    assert events
    assert merged(events + reader.end()) == text(written)


NUMBERS = ",".join(["1"] * MOST_TOKENS)


@pytest.mark.parametrize(
    "written",
    [
        f'<tool_call>{{"name":"ping","arguments":{{"n":[{NUMBERS}]}}}}</tool_call>',
        f"<tool_call>ping<arg_key>n</arg_key><arg_value>[{NUMBERS}]</arg_value></tool_call>",
        '<tool_call>{"name":"ping"}</tool_call>\n' * (MOST_TOKENS // TAG + 1),
    ],
    ids=["numbers", "numbers in a tag", "calls"],
)
@pytest.mark.parametrize("size", [997, 300_000])
def test_guess_with_too_many_parts_is_text(written, size):
    assert read(written, size) == text(written)


def test_long_text_is_a_call():
    [(_, given)] = calls(read(f"<tool_call>{ping(text='a, b' * 50_000)}</tool_call>", 4096))
    assert json.loads(given) == {"text": "a, b" * 50_000}


TOO_DEAR = {
    "a long gap, and its end often": ("aa" + "!" * 30_000 + "bb", '{"x": "aa' + " bb" * 30_000),
    "Chinese": (f"API {'说明' * 20_000} API v2", '{"x": "API ' + ("接口 API " * 40_000)),
    "escapes": ("\\" * 40_000, "\\" * 1_000_000),
    "entities": ("&" * 40_000, "&amp;" * 200_000),
    "marks before lines": ("-\n" * 20_000, "-" * 1_000_000),
    "a digit that ends many": ("9" * 90_000, "&#" + "9" * 1_000_000),
    "the same again": ("a" * 99 + "b", "a" * 1_000_000),
}


@pytest.mark.parametrize("case", TOO_DEAR)
def test_search_takes_short_steps_without_a_match(case):
    value, said = TOO_DEAR[case]
    reader = parser(TOOLS, texts=lambda: [said])
    events = [
        event for piece in sliced(f"<tool_call>{ping(x=value)}</tool_call>", 4096) for event in reader.feed(piece)
    ]
    longest = whole = 0.0
    steps = reader.ending()
    while events == []:
        began = time.thread_time()
        try:
            next(steps)
        except StopIteration as end:
            events = end.value
        longest, whole = max(longest, time.thread_time() - began), whole + time.thread_time() - began
    assert len(calls(merged(events))) == 1
    assert longest < 0.5
    assert whole < 20


@pytest.mark.parametrize(
    "unit", ["<invoke\n", "<tool_call>\n", "```json\n{", "```\n", '<tool_call>{"name":"Bash","arguments":{"a":"\n']
)
def test_beginnings_without_end_are_all_sent(unit):
    written = unit * 2000
    assert read(written, 50) == text(written)


PIECES = sorted({each for form in FORMS.values() for each in re.findall(r"</?[^>\n]*>|```json|```|\n|[^<`\n]+", form)})
PIECES += [
    "\n",
    "\n\n",
    "> ",
    "- ",
    "`",
    "text",
    OPEN,
    CLOSE,
    SURE,
    "</call:",
    "~~~\n",
    f"{HEADINGS[0]}]\n",
    "[User",
    "ping",
]
REPLIES = st.lists(st.sampled_from([*PIECES, *FORMS.values(), *FORMS.values()]), max_size=9).map("".join)


@settings(deadline=None)
@given(REPLIES, st.data())
def test_events_do_not_depend_on_stream_slicing(reply, data):
    whole = read(reply)
    assert merged(fed(parser(TOOLS, headings=HEADINGS), cut(reply, data))) == read(reply, 1) == whole
    sent = "".join(event.text for event in whole if isinstance(event, TextDelta))
    assert OPEN not in sent
    assert CLOSE not in sent
