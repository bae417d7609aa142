"""
`[[sim: key=value]]` in a prompt: the options of one turn.

A value may be `base64:…`, so that what the model is to say does not stand in the request.
"""

from __future__ import annotations

import base64
import binascii
import json
import re

from bridge.simulator.options.errors import OptionError
from bridge.simulator.options.layers import TURN_NAMES, Layer

MARKER_OPENS = "[[sim:"
MARKER = re.compile(r'\[\[sim:((?:[^"\]]|"(?:\\.|[^"\\])*"|\](?!\]))*)\]\]', re.DOTALL)
ENCODED = "base64:"
PAIR = re.compile(r'\s*([a-z_0-9]+)(?:=("(?:\\.|[^"\\])*"|[^\s"]+))?(?=\s|$)', re.DOTALL)


def last_marker(prompt: str) -> tuple[Layer, str, str]:
    """The options of the last marker in the prompt, the prompt without any marker, and what stands after the last."""
    # The last one: a history has the markers of the earlier turns in it.
    at = prompt.rfind(MARKER_OPENS)
    if at < 0:
        return {}, prompt, prompt
    match = MARKER.match(prompt, at)
    if match is None:  # some clients put a user's text in quotes and escape those inside
        prompt = prompt[:at] + prompt[at:].replace('\\"', '"')
        match = MARKER.match(prompt, at)
    if match is None:
        raise OptionError(f"the marker is not closed or quoted properly: {prompt[at : at + 80]}")
    # All markers are taken out, so that an echo does not become an option of the next turn.
    return _pairs(match[1]), MARKER.sub("", prompt).strip(), prompt[match.end() :]


def _pairs(text: str) -> Layer:
    layer: Layer = {}
    at = 0
    while text[at:].strip():
        match = PAIR.match(text, at)
        if match is None or match[1] not in TURN_NAMES:
            raise OptionError(f"no such option: {text[at:].strip()[:80]}")
        layer[match[1]] = _plain(match[2])
        at = match.end()
    return layer


def _plain(value: str | None) -> str:
    if value is None:
        return "true"
    if value.startswith(ENCODED):
        try:
            return base64.b64decode(value.removeprefix(ENCODED), validate=True).decode()
        except (binascii.Error, ValueError):
            raise OptionError(f"not base64 of a text: {value[:80]}") from None
    # A quoted value is a JSON string; `strict=False` lets line breaks in it pass.
    return str(json.loads(value, strict=False)) if value.startswith('"') else value
