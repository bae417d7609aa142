"""The lead of a team has a key of it from the first day to the last, and meets nothing of other teams.

In a browser, and once more by a program with the lead's own token; the audit log has both under the lead's name.
"""

import json

import pytest

from accounts.models import LIMITS
from tests.browser.walks.steps import (
    PAUSE,
    SECRET,
    Program,
    Walk,
    audit_path,
    check_refusal,
    rows_of,
    sentence_of,
    shows,
    trail,
)  # fmt: skip
from tests.e2e.formats import OPENAI, send
from tests.e2e.installation import django, until
from tests.e2e.whole import filed

FOREIGN = """
import json
from django.contrib.auth.models import User
from accounts.api.tokens import issue
from accounts.keys import services
from accounts.models import ApiKey, Team
key = ApiKey(name="foreign-key", team=Team.objects.get(name="Other"))
made = {"secret": services.create(key), "key": key.pk, "team": key.team_id}
tokens = {name: issue(User.objects.get(username=name), None, ()) for name in ("leo", "olga")}
print(json.dumps(made | tokens))
"""
ENDS = ["created", "paused", "resumed", "rotated", "revoked"]
PAGES = (
    "/usage/?range=30d", "/usage/rows/", "/usage/?key={key}", "/usage/rows/?team={team}", "/usage/showback/?by=key",
    "/usage/export.csv", "/usage/export.json?key={key}", "/usage/export.csv?team=Other", "/admin/",
    "/usage/showback/export.json?team={team}", "/admin/accounts/apikey/", "/admin/accounts/apikey/?q=foreign",
    "/admin/accounts/apikey/{key}/change/", "/admin/accounts/team/", "/admin/accounts/team/{team}/change/",
)  # fmt: skip
HIDDEN = (
    "/usage/r/{turn}", "/api/usage/{turn}/", "/api/keys/{key}/", "/api/keys/{key}/limits/", "/api/teams/{team}/",
    "/api/teams/{team}/limits/",
)  # fmt: skip
CLOSED = (
    "/admin/accounts/apikey/{key}/rotate/", "/admin/accounts/apikey/{key}/revoke/", "/admin/accounts/usage/",
    "/admin/accounts/auditentry/", "/admin/accounts/auditentry/export/", "/api/audit/",
)  # fmt: skip
LISTED = (
    "/api/keys/", "/api/keys/?name=foreign-key", "/api/teams/", "/api/usage/?range=30d", "/api/usage/?key={key}",
    "/api/usage/?team=Other", "/usage/export.csv", "/usage/export.json?key={key}",
)  # fmt: skip
MET = ("rpm", "tokens_day", "concurrency")
"""One of each kind: how a key meets every limit does not depend on who has set it, which is the operator's walk."""
ORDERS = ("rotate/", "pause/", "resume/", "revoke/")


@pytest.fixture(scope="module")
def foreign(whole):
    """What another team has: a key, and a turn of it; and the tokens of lead and operator."""
    made = json.loads(django(whole.directory, FOREIGN))
    answer = until(
        lambda: (
            (asked := send(whole, "POST", OPENAI.path, key=made["secret"], body=OPENAI.body("[[sim: text=x]] x")))
            and asked.status == 200
            and asked
        )
    )
    made["turn"] = answer.headers["x-request-id"]
    until(lambda: filed(whole.directory, made["turn"]))
    return made


def test_lead_walks_in_a_browser(log_in, whole, foreign):
    walk = Walk(log_in("leo"), whole)
    walk.make_key("lead-key", "Own", expires_after_days=30, requests_day=5000)
    walk.set = {"requests_day": 5000}
    walk.serves()
    walk.change(**dict.fromkeys(LIMITS, 1))
    assert walk.refusal().status == 429
    walk.change()
    walk.serves()
    refused = {reason: walk.hit(reason, **{reason: 1}) for reason in MET}
    refused["model"] = walk.hit("model", allowed_models="qwen*")
    later = walk.refusal().headers["x-request-id"]  # of the same minute mostly: it shares the row
    walk.change()
    walk.serves()
    for reason, request_id in [*refused.items(), ("model", later)]:
        assert shows(walk.page, f"/usage/r/{request_id}", sentence_of(reason), request_id)
    walk.page.goto(f"/usage/?key={walk.key_id}&range=1h")
    assert {row[0] for row in rows_of(walk.page, "by-reason")} >= set(refused)
    end(walk)
    check_nothing_foreign(walk.page, foreign)
    audited = Program(whole, foreign["olga"]).answer("GET", audit_path(walk, "leo")).json()
    assert trail(walk, audited, "console", **dict.fromkeys(LIMITS, "1"), allowed_models="qwen*") == ENDS
    walk.page.goto(walk.address.replace("change", "history"))
    told = walk.page.inner_text("main")
    assert "leo" in told
    assert "requests per minute\t0\t1\n" in told


def end(walk):
    """It is paused, resumed, rotated with grace, and revoked."""
    walk.press("pause")
    check_refusal(walk.refusal(), "paused")
    walk.press("resume")
    walk.serves()
    old, walk.secret = walk.secret, SECRET.search(walk.press("rotate", "in a day"))[0]
    assert until(lambda: (walk.status(), walk.status(old)) == (200, 200), every=PAUSE)
    walk.press("revoke")
    assert until(lambda: (walk.status(), walk.status(old)) == (401, 401), every=PAUSE)


def check_nothing_foreign(page, foreign):
    """By no page, export or address that somebody types."""
    for path in PAGES:
        answer = page.request.get(path.format(**foreign))
        assert answer.status == 200, path
        assert not says_of(answer.text(), foreign), path
    for paths, status in ((HIDDEN, 404), (CLOSED, 403)):
        assert {path: page.request.get(path.format(**foreign)).status for path in paths} == dict.fromkeys(paths, status)
    page.goto("/usage/?range=1h")
    assert "lead-key" in page.inner_text("main")


def says_of(told, foreign):
    return "foreign-key" in told or foreign["turn"] in told


def test_lead_walks_through_the_api(whole, foreign):
    walk = Program(whole, foreign["leo"])
    made = walk.make_key("lead-program", "Own", tokens_month=9_000_000, expires_after_days=30)
    assert made["team"] == "Own"
    walk.serves()
    walk.check_refusals(model={"allowed_models": ["qwen*"]})
    operator = Program(whole, foreign["olga"])
    audited = operator.answer("GET", audit_path(walk, "leo")).json()
    assert trail(walk, audited, "rest", **dict.fromkeys(LIMITS, "1")) == ENDS
    for path in LISTED:
        answer = walk.answer("GET", path.format(**foreign))
        assert answer.status == 200, path
        assert not says_of(answer.body.decode(), foreign), path
    hidden = [path for path in HIDDEN if path.startswith("/api/")]
    assert {path: walk.answer("GET", path.format(**foreign)).status for path in hidden} == dict.fromkeys(hidden, 404)
    key = f"/api/keys/{foreign['key']}/"
    assert [walk.answer("POST", key + each, {}).status for each in ORDERS] == [404] * len(ORDERS)
    assert walk.answer("PATCH", key, {"rpm": 1}).status == 404
    assert walk.answer("POST", "/api/keys/", {"name": "theirs", "team": "Other"}).status == 400
    assert operator.answer("GET", key).json()["state"] == "live"
