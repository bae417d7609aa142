"""What a key may do, as two web processes enforce it: models, networks, tools, pause, rotation, days from first use."""

import http.client

import pytest

from tests.e2e.agents import ChatAgent
from tests.e2e.formats import ANTHROPIC, FORMATS, OPENAI, RESPONSES, Stream, exchange, send
from tests.e2e.installation import django, until

WITHIN = 10  # seconds; the subscription takes milliseconds, a busy machine may take longer
PROXY = {"x-forwarded-for": "10.7.0.1"}
HELLO = "[[sim: text=x]] x"
HOLD = '[[sim: text="first second" chunks=2 delay_ms=60000]] x'
BEGIN = """
from datetime import timedelta
from django.utils import timezone
from accounts.keys import services
from accounts.models import ApiKey, Team
"""


@pytest.fixture(scope="module")
def gateway(twins):
    return twins


def change(gateway, code):
    """Run code that knows keys, and return what it prints."""
    return django(gateway.data_dir, f"{BEGIN}\n{code}")


def make(gateway, name, fields="", team=""):
    """A new key of that name."""
    of = f'team=Team.objects.create(name="{name}", {team})' if team else ""
    return change(gateway, f'print(services.create(ApiKey(name="{name}", {fields or of})))')


@pytest.fixture
def connections(gateway):
    """A function: a kept connection to each process, which has served this key already."""
    kept = []

    def connect(key):
        found = {}
        while len(found) < 2:
            connection = http.client.HTTPConnection("127.0.0.1", gateway.port, timeout=30)
            kept.append(connection)
            answer = exchange(connection, "POST", OPENAI.path, key=key, body=OPENAI.body(HELLO))
            found.setdefault(answer.headers["x-lingma-instance"], connection)
        return list(found.values())

    yield connect
    for connection in kept:
        connection.close()


def row_with(gateway, reason):
    return until(lambda: next((row for row in gateway.rows().values() if row["reason"] == reason), None))


def of_all(connections, look):
    return [look(connection) for connection in connections]


def listed(gateway, key):
    return {model["id"] for model in send(gateway, "GET", "/v1/models", key=key).json()["data"]}


def ask_for(gateway, key, model, wire=OPENAI):
    return gateway.ask(wire, HELLO, key=key, model=model)


def test_forbidden_model_is_so_by_all_its_names(gateway):
    open_key, key = make(gateway, "all"), make(gateway, "most", 'allowed_models="!dashscope_qwen3_coder, !gpt-*"')
    assert ask_for(gateway, key, "org_auto").status == 200
    assert ask_for(gateway, open_key, "claude-sonnet-4-5").headers["x-lingma-model"] == "dashscope_qwen3_coder"
    for model in ("dashscope_qwen3_coder", "claude-sonnet-4-5", "gpt-4o"):
        answer = ask_for(gateway, key, model)
        assert (answer.status, answer.error["code"]) == (403, "model_not_allowed"), model
    assert "may not use: dashscope_qwen3_coder, gpt-*" in answer.error["message"]
    assert ask_for(gateway, key, "claude-sonnet-4-5", ANTHROPIC).error["type"] == "permission_error"
    assert listed(gateway, key) < listed(gateway, open_key)
    assert "dashscope_qwen3_coder" not in listed(gateway, key)
    assert send(gateway, "GET", "/v1/models/claude-sonnet-4-5", key=key).status == 404
    assert send(gateway, "GET", "/v1/models/org_auto", key=key).status == 200


@pytest.mark.parametrize("wire", [*FORMATS, RESPONSES], ids=str)
def test_key_works_from_its_networks_only(gateway, wire):
    key = make(gateway, f"home {wire}", 'allowed_networks="10.7.0.0/16, 2001:db8::/32"')
    for forwarded, status in ({"x-forwarded-for": "2001:db8::9"}, 200), (PROXY, 200), ({}, 403):
        answer = send(gateway, "POST", wire.path, key=key, body=wire.body(HELLO), headers=forwarded)
        assert answer.status == status
    # Whom the proxy saw counts, not what the client says of itself.
    spoofed = {"x-forwarded-for": "10.7.0.1, 192.0.2.7"}
    answer = send(gateway, "POST", wire.path, key=key, body=wire.body(HELLO), headers=spoofed)
    assert (answer.status, "your network" in answer.error["message"]) == (403, True)
    assert answer.error["type"] == ("permission_error" if wire is ANTHROPIC else "invalid_request_error")
    assert send(gateway, "GET", "/v1/models", key=key).status == 403
    row = row_with(gateway, "network")
    assert row["status"] == "refused"
    assert row["api_key_id"]


def test_policy_of_team_reaches_running_processes(gateway, connections):
    key = make(gateway, "member", team='allowed_models="org_auto"')
    both = connections(key)

    def statuses():
        return of_all(both, lambda each: exchange(each, "POST", OPENAI.path, key=key, body=OPENAI.body(HELLO)).status)

    assert statuses() == [200, 200]
    change(gateway, 'team = Team.objects.get(name="member"); team.allowed_models = "!*"; team.save()')
    until(lambda: statuses() == [403, 403], WITHIN)
    change(gateway, 'ApiKey.objects.filter(name="member").update(allowed_models="org_auto")')
    until(lambda: statuses() == [200, 200], WITHIN)


def test_paused_key_is_refused_until_resumed(gateway, connections):
    key = make(gateway, "paused")
    both = connections(key)

    def statuses():
        return of_all(both, lambda each: exchange(each, "GET", "/v1/models", key=key).status)

    with Stream(gateway, OPENAI, HOLD, key=key) as running:
        running.until(b"first")
        change(gateway, 'services.pause(ApiKey.objects.get(name="paused"), "seen in a repository")')
        until(lambda: statuses() == [401, 401], WITHIN)
        assert running.rest().error
    row = gateway.row(running.request_id)
    assert (row["status"], row["reason"]) == ("error", "paused")
    change(gateway, 'services.quarantine(ApiKey.objects.get(name="paused"), "seen in a repository")')

    def reason():
        return gateway.row(exchange(both[0], "GET", "/v1/models", key=key).headers["x-request-id"])["reason"]

    until(lambda: reason() == "quarantined", WITHIN)
    assert statuses() == [401, 401]
    change(gateway, 'services.resume(ApiKey.objects.get(name="paused"))')
    until(lambda: statuses() == [200, 200], WITHIN)


def rotate(gateway, name, grace):
    return change(gateway, f'print(services.rotate(ApiKey.objects.get(name="{name}"), timedelta(seconds={grace})))')


def test_both_secrets_are_one_key_for_a_time(gateway):
    old = make(gateway, "rotated")
    new = rotate(gateway, "rotated", 3600)
    answers = [gateway.ask(OPENAI, HELLO, key=key) for key in (old, new) for _ in range(4)]
    assert {answer.status for answer in answers} == {200}
    assert len({gateway.row(answer.headers["x-request-id"])["api_key_id"] for answer in answers}) == 1


def test_old_secret_ends_with_its_grace(gateway, connections):
    old = make(gateway, "graceful")
    with Stream(gateway, OPENAI, HOLD, key=old) as late:
        late.until(b"first")
        new = rotate(gateway, "graceful", 4)
        with Stream(gateway, OPENAI, HOLD, key=new) as other:
            other.until(b"first")
            both = connections(new)
            until(lambda: send(gateway, "GET", "/v1/models", key=old).status == 401, WITHIN)
            assert of_all(both, lambda each: exchange(each, "GET", "/v1/models", key=old).status) == [401, 401]
            assert of_all(both, lambda each: exchange(each, "GET", "/v1/models", key=new).status) == [200, 200]
            assert late.rest().error
            assert gateway.row(late.request_id)["reason"] == "rotated"
            other.until(OPENAI.keep_alive)  # it goes on
    assert gateway.ask(OPENAI, HELLO, key=old).status == 401
    refused = row_with(gateway, "rotated")
    assert refused["api_key_id"] == gateway.row(late.request_id)["api_key_id"]


def test_rotation_without_grace_ends_the_old_secret(gateway, connections):
    old = make(gateway, "leaked")
    both = connections(old)
    new = rotate(gateway, "leaked", 0)
    until(lambda: of_all(both, lambda each: exchange(each, "GET", "/v1/models", key=old).status) == [401, 401], WITHIN)
    assert gateway.ask(OPENAI, HELLO, key=new).status == 200


def test_first_use_gives_a_key_its_end(gateway, connections):
    key = make(gateway, "trial", "expires_after_days=7")
    state = 'key = ApiKey.objects.get(name="trial"); print(key.first_used_at, key.expires_at)'
    assert change(gateway, state) == "None None"
    assert send(gateway, "GET", "/v1/models", key=key).status == 200
    days = 'key = ApiKey.objects.get(name="trial"); print(key.first_used_at and key.expires_at - key.first_used_at)'
    until(lambda: change(gateway, days) == "7 days, 0:00:00")
    both = connections(key)
    earlier = """
key = ApiKey.objects.get(name="trial")
key.first_used_at -= timedelta(days=6, hours=24)
key.expires_after_days = 6
key.save()
"""
    change(gateway, earlier)
    until(lambda: of_all(both, lambda each: exchange(each, "GET", "/v1/models", key=key).status) == [401, 401], WITHIN)
    assert row_with(gateway, "expired")["status"] == "refused"


def test_key_has_tools_of_its_own(gateway):
    tool = ("weather", "Tell the weather.", {"city": {"type": "string"}}, ["city"])
    plain, emulated = make(gateway, "plain tools"), make(gateway, "emulated", 'tool_mode="emulate"')
    modes, tools = [], [ChatAgent.declared(tool)]
    for key in (plain, emulated):
        answer = gateway.ask(OPENAI, f"{HELLO} {key[4:12]}", key=key, tools=tools)
        [asked] = gateway.asks(key[4:12], answer.headers["x-lingma-instance"])
        modes.append(asked["mode"])
    assert modes == ["agent", "chat"]


def test_key_has_an_approval_of_its_own(gateway):
    plain, allowing = make(gateway, "denying"), make(gateway, "allowing", team='tool_approval="allow:list_dir"')
    prompt, decided = "[[sim: tools=list_dir,run_in_terminal tool_shape=named text=On.]] x", []
    for key in (plain, allowing):
        answer = gateway.ask(OPENAI, prompt, key=key, model="agent")
        decided.append(gateway.row(answer.headers["x-request-id"])["tools"])
    assert decided == ["denied list_dir, run_in_terminal", "allowed list_dir; denied run_in_terminal"]
