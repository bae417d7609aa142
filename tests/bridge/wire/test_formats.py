"""The formats that are served, and how their clients are told apart."""

import json
import re

import pytest

from bridge.chat.errors import InvalidRequest
from bridge.wire.anthropic.format import FORMAT as ANTHROPIC
from bridge.wire.formats import DEFAULT, FORMATS, by_header
from gateway_project.env import BASE_DIR
from gateway_project.lib.public_formats import PUBLIC_FORMATS
from gateway_project.server import refusals


def test_each_format_has_a_path_of_its_own():
    assert len({each.path for each in FORMATS}) == len(FORMATS)
    assert all(each.path.startswith("/v1/") for each in FORMATS)
    assert DEFAULT in FORMATS


def test_names_fit_into_usage_rows():
    assert all(0 < len(each.name) <= 16 for each in FORMATS)


def test_a_header_shows_the_format():
    assert by_header({b"anthropic-version": b"2023-06-01"}) is ANTHROPIC
    assert by_header({b"authorization": b"Bearer x"}) is None


ASKED_IN_JSON = {
    "/v1/chat/completions": '"response_format": {"type": "json_schema", "json_schema": {"name": "n", "schema": %s}}',
    "/v1/responses": '"text": {"format": {"type": "json_schema", "name": "n", "schema": %s}}',
    "/v1/messages": '"max_tokens": 5, "output_config": {"format": {"type": "json_schema", "schema": %s}}',
}


@pytest.mark.parametrize("schema", ["{}", "{ }", "{\n  }"])
@pytest.mark.parametrize("each", FORMATS, ids=lambda each: each.path)
def test_empty_schema_may_hold_white_space(each, schema):
    turns = '"input": "x"' if each.path == "/v1/responses" else '"messages": [{"role": "user", "content": "x"}]'
    body = f'{{"model": "m", {turns}, {ASKED_IN_JSON[each.path] % schema}}}'
    assert each.parse(body.encode()).request.reply_schema == b"{}"


def test_pages_offer_the_formats_that_are_served():
    """Pages and server may not import formats: that their list is the same is held here."""
    assert {(each.path, each.protocol) for each in PUBLIC_FORMATS} == {(each.path, each.name) for each in FORMATS}
    assert len({each.name for each in PUBLIC_FORMATS}) == len(PUBLIC_FORMATS) == len(FORMATS)


def test_playground_has_a_request_of_each_format():
    script = (BASE_DIR / "accounts/static/pages/playground.js").read_text(encoding="utf-8")
    assert set(re.findall(r'path: "(/v1/[\w/]+)"', script)) == {each.path for each in FORMATS}


@pytest.mark.parametrize("path", [each.path for each in FORMATS], ids=str)
def test_server_refuses_in_the_shape_of_the_format(path):
    """What is refused before a format has been asked; see FORMATS 4.1 and 6.1."""
    (of_path,) = [each for each in FORMATS if each.path == path]
    _, expected = of_path.error(InvalidRequest("x"), "0" * 32)
    answer = refusals.rendered(refusals.BAD_REQUEST, path.encode(), [])
    assert json.loads(answer.partition(b"\r\n\r\n")[2]).keys() == json.loads(expected).keys()
