"""What a model is asked once more."""

from msgspec import Struct

from bridge.chat.request import ToolChoice
from bridge.prompt.corrections import invalid_call, missing_call

REQUIRED = ToolChoice("required")
BASH_ONLY = ToolChoice("named", "Bash")


class Rejected(Struct):
    name: str
    reason: str
    source: str


def test_a_missing_call_is_asked_for():
    assert "<call:k3y>" in missing_call(REQUIRED, "k3y")
    assert "a call of the tool Bash is required" in missing_call(BASH_ONLY, "k3y")


def test_invalid_call_is_quoted_with_its_fault():
    text = invalid_call(Rejected("Read", "'path' is a required property", '<call:k3y>{"name":"Read"}'), "k3y")
    assert "call of the tool Read was not run: 'path' is a required property" in text
    assert 'You wrote:\n<call:k3y>{"name":"Read"}\n' in text
    assert text.endswith('<call:k3y>{"name":"Read","arguments":{...}}</call:k3y>')


def test_a_long_invalid_call_is_quoted_in_part():
    text = invalid_call(Rejected("Write", "bad", "begin" + "x" * 100_000 + "end"), "k3y")
    assert len(text) < 3000
    assert "begin" in text
    assert "xend\n" in text
