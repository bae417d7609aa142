"""Two web processes hold the limits of keys and teams together, and every answer says how they stand."""

import json
import re
import time
from collections import Counter
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack
from datetime import UTC, datetime
from itertools import accumulate, cycle, islice, product
from types import SimpleNamespace

import pytest

from gateway_project.lib.redis import redis_keys
from tests.accounts.pages.reading import Page
from tests.e2e.formats import ANTHROPIC, FORMATS, OPENAI, RESPONSES, Stream, send
from tests.e2e.installation import django, limited_key, until

MAKE = """
import json
from django.conf import settings
from accounts.models import ApiKey, Team
for name, key, team in json.loads({made!r}):
    owner = Team.objects.create(name="team of " + name, **team) if team else None
    made = ApiKey(name=name, team=owner, **key)
    made.adopt("lgw_test-key-limited-" + name, settings.KEY_PEPPER)
    made.save()
print(json.dumps(dict(ApiKey.objects.values_list("name", "pk"))))
"""
KEYS = [
    ("hundred", {"rpm": 100}, None),
    ("four", {"concurrency": 4}, None),
    ("crowd", {"concurrency": 4}, None),
    ("shown", {"rpm": 50, "requests_day": 40}, {"tokens_day": 10_000_000, "tpm": 20_000_000}),
    ("poor", {}, {"requests_day": 1, "time_zone": "Asia/Shanghai"}),
    ("told", {"rpm": 100, "shadow": "rpm"}, {"requests_week": 1, "concurrency": 9}),
    ("shadowed", {"rpm": 1, "shadow": "rpm"}, None),
    ("changed", {}, None),
]
ROTATE = """
from datetime import timedelta
from accounts.keys import services
from accounts.models import ApiKey
key = ApiKey.objects.get(name="changed")
secret = services.rotate(key, timedelta(hours=1))
print(secret, key.hint, key.previous_until.timestamp())
"""
FLUSH = """
import time
from django.conf import settings
from accounts.ledger.services import flush
from accounts.models import Usage
while Usage.objects.filter(api_key__name="told").count() < 2:
    flush(settings.ENV.redis_or_embedded_url, settings.DATA_DIR / "spool")
    time.sleep(0.1)
print("filed")
"""
FILE_ALL = """
from django.conf import settings
from django.contrib.auth.models import User
from django.test import Client
from accounts.ledger.services import flush
flush(settings.ENV.redis_or_embedded_url, settings.DATA_DIR / "spool")
client = Client()
client.force_login(User.objects.filter(is_superuser=True).first())
print(client.cookies["sessionid"].value)
"""
PROGRAMS = {"curl/8.5.0": "curl", "codex_cli_rs/0.42.0": "Codex"}
ALL_FORMATS = (*FORMATS, RESPONSES)
PROMPT = "[[sim: text=x]] x"
HOLD = '[[sim: text="slow answer" chunks=2 delay_ms=60000]] x'
HOLD_CROWD = '[[sim: text="slow answer" chunks=2 delay_ms=60000]] held by a crowd'
COMES_AND_GOES = '[[sim: text="slow answer" chunks=2 delay_ms=100]] comes and goes'


@pytest.fixture(scope="module")
def gateway(twins):
    twins.ids = json.loads(django(twins.data_dir, MAKE.format(made=json.dumps(KEYS))))
    return twins


def rows_of(gateway, name):
    return [row for row in gateway.rows().values() if row["api_key_id"] == gateway.ids[name]]


def refused_rows(gateway, name):
    return [row for row in rows_of(gateway, name) if row["status"] == "refused"]


def usage_page(gateway, name):
    """`/usage/` of a key as an operator sees it when all has been filed."""
    session = django(gateway.data_dir, FILE_ALL)
    path = f"/usage/?key={gateway.ids[name]}"
    answer = send(gateway, "GET", path, headers={"Cookie": f"sessionid={session}"})
    assert answer.status == 200
    return Page(SimpleNamespace(content=answer.body))


def test_two_processes_admit_exactly_the_limit(gateway):
    key, sent = limited_key("hundred"), 192
    with ThreadPoolExecutor(64) as pool:
        kinds = list(islice(cycle(product(FORMATS, PROGRAMS)), sent))
        asked = [pool.submit(ask_as, gateway, wire, program, key) for wire, program in kinds]
        statuses = [each.result().status for each in asked]
    assert (statuses.count(200), statuses.count(429)) == (100, sent - 100)
    until(lambda: sum(row["count"] for row in rows_of(gateway, "hundred")) == sent)
    assert sum(row["count"] for row in refused_rows(gateway, "hundred")) == sent - 100
    assert len(refused_rows(gateway, "hundred")) < 20
    page = usage_page(gateway, "hundred")
    assert page.figures["Turns"] == str(sent)
    ((_, turns, failed, refused, *_),) = page.body("by-key")
    assert (turns, failed, refused) == (str(sent), "0", str(sent - 100))
    answers = Counter((PROGRAMS[program], status) for (_, program), status in zip(kinds, statuses, strict=True))
    told = {name: (int(turns), int(refused)) for name, turns, _, refused, *_ in page.body("by-client_app")}
    assert told == {name: (answers[name, 200] + answers[name, 429], answers[name, 429]) for name in PROGRAMS.values()}


def ask_as(gateway, wire, program, key):
    return send(gateway, "POST", wire.path, key=key, body=wire.body(PROMPT), headers={"user-agent": program})


CLIENTS = 64
STEPS = {"chat/ask": 1, "chat/finish": -1}


def most_running(gateway, text):
    """How many turns of this text ran at once in both processes' instances, at most, as they saw it themselves."""
    steps, ids = [], set()
    for instance in ("w1-i1", "w2-i1"):
        ids |= {params["requestId"] for params in gateway.asks(text, instance)}
        seen = [each for each in gateway.received(instance) if each.get("method") in STEPS]
        steps += [(each["time"], STEPS[each["method"]]) for each in seen if each["params"].get("requestId") in ids]
    running = list(accumulate(step for _, step in sorted(steps)))
    assert running[-1] == 0
    return max(running)


def test_clients_at_once_run_within_the_limit(gateway):
    key = limited_key("crowd")
    with ExitStack() as streams, ThreadPoolExecutor(CLIENTS) as pool:
        held = [streams.enter_context(Stream(gateway, OPENAI, HOLD_CROWD, key=key)) for _ in range(CLIENTS)]
        statuses = list(pool.map(lambda stream: stream.status, held))
        assert (statuses.count(200), statuses.count(429)) == (4, CLIENTS - 4)
        until(lambda: asked(gateway, HOLD_CROWD) == 4)
    until(lambda: gateway.ask(OPENAI, PROMPT, key=key).status == 200)
    with ThreadPoolExecutor(CLIENTS) as pool:
        wires = list(islice(cycle(FORMATS), 3 * CLIENTS))
        turns = [pool.submit(gateway.ask, wire, COMES_AND_GOES, key=key) for wire in wires]
        served = [each.result().status for each in turns].count(200)
    assert asked(gateway, COMES_AND_GOES) == served
    assert 1 <= most_running(gateway, COMES_AND_GOES) <= 4


def asked(gateway, text):
    """Turns of this text that have come to the instances of both processes."""
    return sum(len(gateway.asks(text, instance)) for instance in ("w1-i1", "w2-i1"))


def test_turns_at_once_end_with_their_process(gateway, record_property):
    key = limited_key("four")
    turns = redis_keys.limits("key", gateway.ids["four"])[2]
    with ExitStack() as streams:
        for _ in range(4):
            streams.enter_context(Stream(gateway, OPENAI, HOLD, key=key)).until(b"slow")
        with ThreadPoolExecutor(16) as pool:
            assert {pool.submit(gateway.ask, OPENAI, PROMPT, key=key).result().status for _ in range(16)} == {429}
        for process in gateway.processes:
            process.kill()
            process.wait()
        killed_at = time.time()
        gateway.processes[:] = [gateway.start(number) for number in (1, 2)]
        with gateway.redis() as client:
            leases = client.zrange(turns, 0, -1, withscores=True)
        assert all(end - killed_at < 6 for _, end in leases)
        freed = max((end for _, end in leases), default=killed_at) - killed_at
        record_property("s after a kill -9 until all places are free (asked: 5)", round(max(0.0, freed), 2))
        until(lambda: gateway.ask(OPENAI, PROMPT, key=key).status == 200)


def test_headers_are_those_of_the_nearest_limit(gateway, stream):
    for number, wire in enumerate(ALL_FORMATS):
        answer = gateway.ask(wire, PROMPT, key=limited_key("shown"), stream=stream)
        assert answer.status == 200
        check_headers(wire, answer.headers, 40, 40 - number - 1 - (len(ALL_FORMATS) if stream else 0))


def check_headers(wire, headers, limit, left):
    """Requests are those of the day; tokens those of the team's day, less what is reserved."""
    if wire is ANTHROPIC:
        assert headers["anthropic-ratelimit-requests-limit"] == str(limit)
        assert headers["anthropic-ratelimit-requests-remaining"] == str(left)
        reset = datetime.fromisoformat(headers["anthropic-ratelimit-requests-reset"])
        assert (reset.hour, reset.minute, reset.tzinfo) == (0, 0, UTC)
        assert headers["anthropic-ratelimit-tokens-limit"] == "10000000"
        assert 9_000_000 < int(headers["anthropic-ratelimit-tokens-remaining"]) < 10_000_000
        assert not [name for name in headers if name.startswith("x-ratelimit")]
    else:
        assert headers["x-ratelimit-limit-requests"] == str(limit)
        assert headers["x-ratelimit-remaining-requests"] == str(left)
        assert re.fullmatch(r"(\d+h)?(\d+m)?\d+s|\d+ms", headers["x-ratelimit-reset-requests"])
        assert headers["x-ratelimit-limit-tokens"] == "10000000"
        assert not [name for name in headers if name.startswith("anthropic-ratelimit")]


def test_answers_without_a_turn_have_the_headers_too(gateway):
    key = limited_key("shown")
    listing = send(gateway, "GET", "/v1/models", key=key)
    broken = send(gateway, "POST", ANTHROPIC.path, key=key, body={"model": "org_auto"})
    assert (listing.status, broken.status) == (200, 400)
    left = listing.headers["x-ratelimit-remaining-requests"]
    assert broken.headers["anthropic-ratelimit-requests-remaining"] == left
    assert not [name for name in gateway.ask(OPENAI, PROMPT).headers if "ratelimit" in name]


def test_refusal_says_which_limit_and_until_when(gateway):
    key = limited_key("poor")
    assert gateway.ask(OPENAI, PROMPT, key=key).status == 200
    for wire in FORMATS:
        answer = gateway.ask(wire, PROMPT, key=key)
        assert answer.status == 429
        message = answer.error["message"]
        assert "The limit requests_day of this API key's team is reached: 1 request per day, 1 used." in message
        # Midnight in Shanghai.
        assert "T16:00:00Z" in message
        details = dict(answer.error["details"])
        assert details.pop("resets_at").endswith("T16:00:00Z")
        assert details == {"limit": "requests_day", "scope": "team", "allowed": 1, "used": 1}
        left = int(answer.headers["retry-after"])
        assert datetime.fromtimestamp(time.time() + left, UTC).strftime("%H:%M") in ("15:59", "16:00", "16:01")
        name = "anthropic-ratelimit-requests-remaining" if wire is ANTHROPIC else "x-ratelimit-remaining-requests"
        assert answer.headers[name] == "0"
        assert answer.headers["x-should-retry"] == "false"
    row = until(lambda: refused_rows(gateway, "poor"))[0]
    assert (row["reason"], row["limit_scope"], row["allowed"], row["value"]) == ("requests_day", "team", 1, 1)


def test_shadow_limit_refuses_nobody(gateway):
    answers = [gateway.ask(OPENAI, PROMPT, key=limited_key("shadowed")) for _ in range(4)]
    assert [answer.status for answer in answers] == [200] * 4
    assert not [name for answer in answers for name in answer.headers if "ratelimit" in name]
    with gateway.redis() as client:
        counts = [client.hgetall(name) for name in client.keys(f"{redis_keys.LIMIT_SHADOW}*")]
    assert sum(int(each.get(str(gateway.ids["shadowed"]).encode(), 0)) for each in counts) == 3


def test_key_reads_its_own_usage(gateway):
    key = limited_key("told")
    assert gateway.ask(OPENAI, PROMPT, key=key).status == 200
    assert gateway.ask(ANTHROPIC, PROMPT, key=key).status == 429
    assert django(gateway.data_dir, FLUSH) == "filed"
    answer = send(gateway, "GET", "/v1/usage", key=key)
    assert (answer.status, answer.headers["cache-control"]) == (200, "no-store")
    told = answer.json()
    assert (told["name"], told["team"], told["state"], told["expires_at"]) == ("told", "team of told", "live", None)
    assert told["allowed_models"] is None
    assert "org_auto" in told["models"]
    assert (told["content_kept_days"], told["expires_after_days"]) == (0, None)
    assert told["hint"] == "lgw_…"
    assert datetime.fromisoformat(told["first_request_at"])
    limits = {(each["scope"], each["name"]): each for each in told["limits"]}
    assert {name: (each["limit"], each["used"], each["remaining"]) for name, each in limits.items()} == {
        ("key", "rpm"): (100, 1, 99), ("team", "concurrency"): (9, 0, 9), ("team", "requests_week"): (1, 1, 0),
    }  # fmt: skip
    assert limits["key", "rpm"]["shadow"] is True
    assert limits["team", "concurrency"]["resets_at"] is None
    assert datetime.fromisoformat(limits["team", "requests_week"]["resets_at"]).weekday() == 0
    assert (len(told["days"]), told["days"][0]["turns"], told["days"][0]["refused"]) == (30, 2, 1)
    refused, ok = sorted(told["requests"], key=lambda each: each["status"], reverse=True)
    assert (ok["status"], ok["prompt_tokens"] > 0) == ("ok", True)
    assert (refused["reason"], refused["limit_scope"], refused["prompt_tokens"]) == ("requests_week", "team", None)
    assert refused["explanation"].startswith("The limit of the team is reached: requests per week, 1 of 1.")
    # What Redis loses the rows still know.
    with gateway.redis() as client:
        assert client.delete(*client.keys(f"{redis_keys.LIMIT}team:*:week:*"))
    limits = {each["name"]: each for each in send(gateway, "GET", "/v1/usage", key=key).json()["limits"]}
    assert (limits["requests_week"]["used"], limits["requests_week"]["remaining"]) == (1, 0)


def test_older_secret_is_told_its_end(gateway):
    def told(key):
        usage = send(gateway, "GET", "/v1/usage", key=key).json()
        return usage["state"], usage["hint"], usage["secret_ends_at"]

    newer, hint, ends_at = django(gateway.data_dir, ROTATE).split()
    assert told(newer) == ("live", hint, None)
    state, none, end = told(limited_key("changed"))
    assert (state, none) == ("live", None)
    assert abs(datetime.fromisoformat(end).timestamp() - float(ends_at)) < 0.002


def test_own_usage_needs_a_key_in_either_format(gateway):
    for headers, type_ in (
        (None, "invalid_request_error"),
        ({"anthropic-version": "2023-06-01"}, "authentication_error"),
    ):
        answer = send(gateway, "GET", "/v1/usage", key="lgw_nobody", headers=headers)
        assert (answer.status, answer.error["type"]) == (401, type_)
    assert send(gateway, "POST", "/v1/usage", key=limited_key("told"), body={}).status == 405
