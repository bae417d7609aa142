"""Replies that must be JSON."""

import json

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from bridge.reply.open_json import BEGINS, OpenJson
from bridge.reply.structured import Structured
from tests.bridge.reply.streams import cut, sliced

SCHEMA = json.dumps(
    {"type": "object", "properties": {"name": {"type": "string"}, "tags": {"type": "array"}}, "required": ["name"]}
).encode()
JSON = '{"name":"A \\"b\\" {c}","tags":[1,{"x":null}]}'
AROUND = {
    "nothing": JSON,
    "a fence": f"```json\n{JSON}\n```",
    "prose and a fence": f"Sure! Here it is:\n\n```\n{JSON}\n```\nAnything else?",
    "prose": f"The set {{a, b}} as JSON: {JSON} I hope that helps.",
    "white space": f"\n\n  {JSON}\n",
    "line breaks in it": json.dumps(json.loads(JSON), indent=2),
    "small flaws": JSON.replace('"name"', "'name'").replace("null", "None").replace("]}", ",],}"),
}


def whole(reply, text, *, called=False):
    return reply.feed(text) + reply.end(called=called)


def streamed(pieces, schema=SCHEMA):
    reply = Structured(schema, stream=True)
    return "".join([*map(reply.feed, pieces), reply.end(called=False)])


@pytest.mark.parametrize("around", AROUND)
def test_a_whole_reply_is_its_json(around):
    reply = Structured(SCHEMA, stream=False)
    sent = whole(reply, AROUND[around])
    assert (json.loads(sent), reply.correction) == (json.loads(JSON), "")


@pytest.mark.parametrize("around", AROUND)
@pytest.mark.parametrize("size", [1, 3, 7, 10_000])
def test_stream_is_its_json_however_cut(around, size):
    assert json.loads(streamed(sliced(AROUND[around], size))) == json.loads(JSON)


@settings(deadline=None)
@given(st.sampled_from(sorted(AROUND)), st.data())
def test_slices_of_the_stream_make_no_difference(around, data):
    assert streamed(cut(AROUND[around], data)) == streamed([AROUND[around]])


@pytest.mark.parametrize("size", [0, 1, 3, 10_000])
@pytest.mark.parametrize(
    ("schema", "text", "sent"),
    [
        (
            {"properties": {"n": {"type": "integer"}, "x": {"type": "number"}}},
            '{"n": 2.0, "x": 2.0}',
            '{"n":2,"x":2.0}',
        ),
        ({"type": "array", "items": {"type": "integer"}}, "[1e1, -3.0]", "[10,-3]"),
        ({"properties": {"n": {"type": "integer"}}}, '{"n": 2.0, "m": []', '{"n":2,"m":[]}'),
        ({"type": "integer"}, "```json\n4.0\n```", "4"),
        ({"type": "number"}, "4.0", "4.0"),
    ],
)
def test_integers_are_written_as_integers(schema, text, sent, size):
    asked = json.dumps(schema).encode()
    assert (streamed(sliced(text, size), asked) if size else whole(Structured(asked, stream=False), text)) == sent


def test_json_is_streamed_as_it_comes():
    reply = Structured(SCHEMA, stream=True)
    assert reply.feed('```json\n{"na') == ""
    assert reply.feed('me":') == '{"name":'
    assert reply.feed('"A long') == '"A long'
    assert reply.feed(' text"}\n``') == ' text"}'
    assert reply.feed("`") + reply.end(called=False) == ""


@pytest.mark.parametrize("stream", [True, False])
def test_non_json_is_retried_once_then_sent(stream):
    reply = Structured(SCHEMA, stream=stream)
    assert whole(reply, "I would rather not.") == ""
    assert "it holds no JSON" in reply.correction
    reply.retry()
    assert whole(reply, "No, I will not.") == "No, I will not."
    assert (reply.correction, reply.outcomes) == ("", {"reply_retried": 1, "reply_refused": 1})


@pytest.mark.parametrize("stream", [True, False])
def test_result_of_the_correction_is_sent(stream):
    reply = Structured(SCHEMA, stream=stream)
    whole(reply, "Hm.")
    reply.retry()
    assert whole(reply, f"```json\n{JSON}\n```") == JSON


def test_misfit_json_is_retried_once_then_sent():
    reply = Structured(SCHEMA, stream=False)
    assert whole(reply, '{"tags":1}') == ""
    assert "'name' is a required property" in reply.correction
    assert "tags: 1 is not of type 'array'" in reply.correction
    reply.retry()
    assert whole(reply, '{"tags":2}') == '{"tags":2}'
    assert reply.outcomes == {"reply_retried": 1, "reply_invalid": 1}


def test_misfit_json_is_better_than_none():
    reply = Structured(SCHEMA, stream=False)
    whole(reply, '{"tags":1}')
    reply.retry()
    assert whole(reply, "Sorry.") == '{"tags":1}'


def test_fitting_json_among_several_is_sent():
    reply = Structured(SCHEMA, stream=False)
    assert whole(reply, f'Not {{"tags":1}} but {JSON}') == JSON


def test_cut_off_json_is_requested_again():
    reply = Structured(SCHEMA, stream=False)
    assert whole(reply, JSON[:12]) == ""
    assert reply.correction


def test_streamed_text_cannot_be_corrected():
    reply = Structured(SCHEMA, stream=True)
    assert whole(reply, '{"tags":[]}') == '{"tags":[]}'
    assert (reply.correction, reply.outcomes) == ("", {"reply_invalid": 1})


def test_text_beside_a_call_need_not_be_json():
    reply = Structured(SCHEMA, stream=True)
    assert (reply.feed("Let me look."), reply.release()) == ("", "Let me look.")
    assert whole(reply, "\nSo.", called=True) == "\nSo."


@pytest.mark.parametrize("failed", ["I would rather not.", '{"tags":1}'])
def test_first_text_is_sent_without_a_correction(failed):
    reply = Structured(SCHEMA, stream=False)
    whole(reply, failed)
    assert reply.best_effort() == ""
    reply.retry()
    reply.feed("Half of")
    assert reply.best_effort() == failed


def test_replaced_reply_is_forgotten():
    reply = Structured(SCHEMA, stream=False)
    reply.feed('{"name":"draft"}')
    reply.discard()
    assert whole(reply, JSON) == JSON


@pytest.mark.parametrize(
    ("schema", "text", "sent"),
    [
        (b"{}", 'Here: [1] {"a":1}', '{"a":1}'),
        (b'{"type":"array","items":{"type":"integer"}}', "As in [3]:\n[1, 2]\n", "[1,2]"),
        (b'{"type":"integer"}', "```\n42\n```", "42"),
        (b'{"enum":["a","b"],"type":"string"}', ' "a" ', '"a"'),
        (b'{"enum":["a","b"]}', '```json\n"a"\n```', '"a"'),
        (b'{"anyOf":[{"type":"string"},{"type":"null"}]}', "null", "null"),
        (b'{"type":["array","null"]}', "null\n", "null"),
        (b'{"anyOf":[{"type":"object"},{"type":"array"}]}', "So: {}", "{}"),
        (b'{"$ref":"#/$defs/a","$defs":{"a":{"type":"array"}}}', "[]", "[]"),
    ],
)
@pytest.mark.parametrize("stream", [True, False])
def test_json_is_searched_by_what_schema_wants(schema, text, sent, stream):
    reply = Structured(schema, stream=stream)
    assert (whole(reply, text), reply.correction) == (sent, "")


@pytest.mark.parametrize("size", [1, 3, 4, 50, 10_000])
@pytest.mark.parametrize("schema", [b'{"type":"array"}', b'{"anyOf":[{"type":"object"},{"type":"array"}]}'])
def test_brackets_in_long_prose_begin_no_list(schema, size):
    prose = "As the sources [1] and [2] say, there is more of it than [3] would have. " * 9
    assert streamed(sliced(f'{prose}\n[{{"a":1}},2]', size), schema) == '[{"a":1},2]'


@pytest.mark.parametrize("size", [1, 8, 100])
def test_bracket_behind_broken_json_begins_no_list(size):
    watch = OpenJson(BEGINS["{["])
    for piece in sliced('{"a":1 [1', size):
        watch.append(piece)
        is_open = watch.is_open
    assert not is_open


def test_an_object_is_an_object():
    reply = Structured(b"{}", stream=False)
    assert whole(reply, "[1]") == ""
    assert reply.correction


def test_schema_too_large_to_check_accepts_any_json():
    reply = Structured(json.dumps({"enum": ["x" * 100_000]}).encode(), stream=False)
    assert whole(reply, '{"a":1}') == '{"a":1}'
    assert reply.outcomes == {"unjudged": 1}


def test_stream_without_json_is_sent_after_a_while():
    reply = Structured(SCHEMA, stream=True)
    sent = "".join(reply.feed("No way. ") for _ in range(3000))
    assert sent + reply.end(called=False) == "No way. " * 3000


@pytest.mark.parametrize("unit", ['{"', "{", "{'a", '{"a":', "[", "\n[1", '{ "a" :', "{" + " " * 50])
@pytest.mark.parametrize("stream", [True, False])
def test_reply_is_not_read_again_and_again(unit, stream):
    reply = Structured(SCHEMA, stream=stream)
    for _ in range(300):
        reply.feed(unit * 100)
    assert isinstance(reply.end(called=False), str)


def test_reply_too_long_to_search_is_text():
    reply = Structured(SCHEMA, stream=False)
    assert whole(reply, f"{JSON}{' ' * (4 << 20)}") == ""
    assert reply.correction
    reply.retry()
    assert whole(reply, f"{JSON}{' ' * (4 << 20)}").startswith(JSON)
    assert reply.outcomes["reply_refused"] == 1
