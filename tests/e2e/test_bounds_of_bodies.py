"""Small bodies that mean much: refused by the name of the field, and the process does not grow."""

import gzip
import json

import psutil
import pytest

from tests.e2e.formats import send
from tests.e2e.installation import KEY, OTHER_KEY, django

MIB = 1 << 20
ALLOWED_GROWTH = 96 * MIB
PATHS = {"messages": "/v1/messages", "chat": "/v1/chat/completions", "responses": "/v1/responses"}
FIELDS = {
    "messages": {"messages": [{"role": "user", "content": "Hi"}], "max_tokens": 50},
    "chat": {"messages": [{"role": "user", "content": "Hi"}]},
    "responses": {"input": "Hi"},
}


@pytest.fixture(params=PATHS)
def api(request):
    return request.param


def post(gateway, api, body):
    """Compressed, as who wants to send little and cost much would."""
    headers = {"content-encoding": "gzip", "content-type": "application/json"}
    return send(gateway, "POST", PATHS[api], key=KEY, body=gzip.compress(body), headers=headers)


def rss(gateway):
    return psutil.Process(gateway.processes[0].pid).memory_info().rss


def test_huge_name_is_refused_before_streaming_repeats_it(gateway, api):
    body = json.dumps({"model": "m" * MIB, "stream": True, **FIELDS[api]}).encode()
    answer = post(gateway, api, body)
    assert (answer.status, answer.streamed) == (400, False)
    assert "model" in answer.error["message"]
    assert len(answer.body) < 1000


@pytest.mark.parametrize("many", [b"{},", b"[],", b'"",', b"0,"])
def test_a_million_values_do_not_become_a_tree(gateway, api, many):
    field = "input" if api == "responses" else "messages"
    rest = json.dumps({"model": "org_auto", **{k: v for k, v in FIELDS[api].items() if k != field}}).encode()
    before = rss(gateway)
    for name in (field, "tools", "tool_choice", "unknown"):
        answer = post(gateway, api, rest[:-1] + b', "%b": [%b0]}' % (name.encode(), many * (4 * MIB)))
        assert answer.status in (400, 413, 429, 503), answer.body[:200]
        assert send(gateway, "GET", "/v1/models", key=OTHER_KEY).status == 200
    assert rss(gateway) - before < ALLOWED_GROWTH


@pytest.mark.parametrize("spelt", ["16.0", "1.6e1"])
def test_a_limit_may_be_spelt_with_a_point(gateway, api, spelt):
    field = "max_output_tokens" if api == "responses" else "max_tokens"
    asked = {"model": "org_auto", **FIELDS[api]} | {field: "HERE"}
    answer = post(gateway, api, json.dumps(asked).replace('"HERE"', spelt).encode())
    assert answer.status == 200
    answer = post(gateway, api, json.dumps(asked).replace('"HERE"', "16.5").encode())
    assert answer.status == 400
    assert field in answer.error["message"]


def test_large_file_is_read_for_those_who_may(gateway):
    """Beyond what else Django takes; and it is looked at."""
    token = django(
        gateway.data_dir, "from django.core.management import call_command as c; c('create_api_token', 'admin')"
    )
    kind = {"content-type": "application/octet-stream"}
    strange = send(gateway, "POST", "/api/versions/", body=bytes(4 * MIB), headers=kind)
    assert (strange.status, strange.headers["connection"]) == (401, "close")
    headers = kind | {"authorization": f"Token {token}"}
    answer = send(gateway, "POST", "/api/versions/", body=bytes(4 * MIB), headers=headers)
    assert (answer.status, "damaged or no VSIX" in answer.json()["detail"]) == (400, True)
    assert send(gateway, "POST", "/api/teams/", body=bytes(4 * MIB), headers=headers).status == 413
