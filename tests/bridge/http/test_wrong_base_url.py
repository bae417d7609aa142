"""Paths of clients whose base URL is wrong."""

import re

import pytest

from bridge.http import wrong_base_url
from bridge.wire.anthropic.format import FORMAT as ANTHROPIC

OURS = ["/chat/completions", "/responses", "/models", "/v1/v1/chat/completions", "/api/v1/responses",
        "/openai/v1/models", "//v1/chat/completions", "/v1//chat/completions",
        "/api/chat/completions", "/v2/chat/completions/"]  # fmt: skip
THEIRS = ["/messages", "/messages/count_tokens", "/v1/v1/messages", "/anthropic/v1/messages", "/api/v1/messages",
          "/v1/messages/no/such/thing"]  # fmt: skip
DJANGOS = ["/", "/admin/", "/admin/accounts/apikey/", "/api/keys/", "/api/schema/", "/api/docs/", "/api/usage/summary/",
           "/static/admin/css/base.css", "/usage/", "/usage/r/messages", "/me/", "/healthz", "/modelsx"]  # fmt: skip


def is_ours(path):
    rest = path.removeprefix("/")
    return any(re.search(each, rest) for each in (r"^v1(/|$)", wrong_base_url.BESIDE_V1, wrong_base_url.UNDER_A_PREFIX))


@pytest.mark.parametrize("path", [*OURS, *THEIRS, "/embeddings", "/completions", "/api/v1", "/openai/v1/"])
def test_path_beside_v1_is_not_left_to_django(path):
    assert is_ours(path)


@pytest.mark.parametrize("path", DJANGOS)
def test_paths_of_django_are_not_ours(path):
    assert not is_ours(path)


@pytest.mark.parametrize("path", OURS)
def test_openai_client_is_shown_its_base_url(path):
    assert wrong_base_url.format_of(path) is not ANTHROPIC
    assert "The base URL for OpenAI clients ends in /v1: the full path is /v1/" in wrong_base_url.advice("POST", path)


@pytest.mark.parametrize("path", THEIRS)
def test_anthropic_client_is_shown_its_base_url(path):
    assert wrong_base_url.format_of(path) is ANTHROPIC
    assert "address without /v1: the full path is /v1/messages" in wrong_base_url.advice("POST", path)


@pytest.mark.parametrize(
    "path",
    ["/v1/completions", "/embeddings", "/v1/images/generations", "/v1/messages/batches", "/v1/messages/batches/b_1",
     "/v1/complete", "/v1/skills", "/v1/conversations", "/v1/conversations/c_1/items", "/v1/threads",
     "/v1/vector_stores", "/v1/fine_tuning/jobs", "/v1/realtime/sessions", "/v1/rerank",
     "/v1/containers", "/v1/uploads", "/v1/evals"],
)  # fmt: skip
def test_unserved_endpoint_is_named_as_such(path):
    assert "is not served here" in wrong_base_url.advice("POST", path)


def test_long_path_is_echoed_within_a_bound():
    assert len(wrong_base_url.advice("POST", "/v1/" + "x" * 60_000)) < 500
