"""What the object of an open stream costs: thousands may be open, and a dictionary for each weighs near a KiB."""

import ast
import inspect
import textwrap

import pytest

from bridge.http.chat import ChatConsumer
from bridge.http.responses import Compact, Responses
from bridge.wire.formats import DEFAULT


def stored(kind):
    """The attributes that a class gives to its objects."""
    tree = ast.parse(textwrap.dedent(inspect.getsource(kind)))
    stores = (each for each in ast.walk(tree) if isinstance(each, ast.Attribute) and isinstance(each.ctx, ast.Store))
    return {each.attr for each in stores if isinstance(each.value, ast.Name) and each.value.id == "self"}


@pytest.mark.parametrize("kind", [ChatConsumer, Responses, Compact])
def test_objects_of_a_chat_have_only_slots(kind):
    ours = [each for each in kind.__mro__ if each.__module__.startswith("bridge.")]
    slots = {name for each in ours for name in vars(each).get("__slots__", ())}
    assert set().union(*map(stored, ours)) <= slots
    assert not vars(kind(DEFAULT))
