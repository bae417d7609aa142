import json

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from bridge.wire import sse


@settings(deadline=None)
@given(st.text())
def test_text_stays_in_one_line_for_every_splitter(text):
    encoded = sse.json_text(text)
    assert json.loads(encoded) == text
    assert len(encoded.decode().splitlines()) == 1


@pytest.mark.parametrize("char", ["\u2028", "\u2029", "\x85"])
@pytest.mark.parametrize("around", ["", "ascii", "通义灵码", "é😀"])
def test_pitfall_29_line_breaks_of_unicode_are_escaped(char, around):
    encoded = sse.json_text(around + char + around)
    assert encoded == f'"{around}\\u{ord(char):04x}{around}"'.encode()
    assert sse.data({"t": around + char}) == f'data: {{"t":"{around}\\u{ord(char):04x}"}}\n\n'.encode()


def test_other_text_is_sent_as_it_is():
    assert sse.json_text('"通义" é😀\n') == '"\\"通义\\" é😀\\n"'.encode()


def test_a_named_event_has_both_lines():
    assert sse.named("ping", {"type": "ping"}) == b'event: ping\ndata: {"type":"ping"}\n\n'


EVENTS = [sse.named("ping", {"type": "ping"}), sse.COMMENT, sse.data({"text": "one\n\ntwo"}), sse.DONE]


@settings(deadline=None)
@given(st.lists(st.integers(0, sum(map(len, EVENTS))), max_size=12), st.integers(0, 9))
def test_stream_is_passed_on_in_whole_events(cuts, half):
    stream = b"".join(EVENTS) + b"data: half"[: half + 1]
    ends = sorted({*cuts, len(stream)})
    passing = sse.WholeEvents()
    parts = [passing.feed(stream[start:end]) for start, end in zip([0, *ends], ends, strict=False)]
    assert (b"".join(parts), passing.count, passing.rest) == (b"".join(EVENTS), len(EVENTS), b"data: half"[: half + 1])
    assert all(part.endswith(b"\n\n") for part in parts if part)
