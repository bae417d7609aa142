"""What goes along with a turn that is handed over."""

import pytest

from bridge.peers.handover import HandOver, decoded, encoded
from sessions_store.store import Found, SessionContents

FOUND = Found("f" * 64, "session", "w2-i1", 3, 2, 1.5, SessionContents(mark="abc", tools="d" * 64, proven=True))


def test_everything_arrives_as_it_was():
    given = HandOver("0" * 32, 1.25, 0.5, "2001:db8::7", "web-1", FOUND)
    assert decoded(encoded(given).encode()) == given


@pytest.mark.parametrize("value", [b"", b"e30=", b"no base64!", b"AAAA", b"bnVsbA=="])
def test_malformed_handover_is_none(value):
    assert decoded(value) is None
