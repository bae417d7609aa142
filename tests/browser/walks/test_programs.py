"""The operator's walk once more, by programs: what the console can do, the API can."""

import subprocess
import sys
from datetime import UTC, datetime, timedelta
from itertools import pairwise

import pytest

from accounts.models import LIMITS
from tests.browser.walks.steps import PAUSE, Walk, check_refusal, sentence_of
from tests.e2e.formats import send
from tests.e2e.installation import ROOT, environment, until


@pytest.fixture(scope="module")
def token(whole):
    made = subprocess.run(
        [sys.executable, "manage.py", "create_api_token", "olga", "--expires", "1d"],
        cwd=ROOT, env=environment(whole.directory), capture_output=True, text=True, check=True, timeout=60,
    )  # fmt: skip
    return made.stdout.strip()


UNSET = {"allowed_models": [], "allowed_networks": [], "expires_at": None}


class Program(Walk):
    """Somebody who has a token, and never a browser."""

    def __init__(self, whole, token):
        super().__init__(None, whole)
        self._headers = {"authorization": f"Token {token}"}

    def call(self, method, path, body=None):
        answer = send(self.whole, method, f"/api/{path}", body=body, headers=self._headers)
        assert answer.status < 300, answer
        return answer.json()

    def change(self, **fields):
        row = self.call("PATCH", self.address, {name: UNSET.get(name, 0) for name in self.set} | fields)
        assert {name: row[name] for name in fields} == fields
        self.set = fields

    def press(self, what, **body):
        return self.call("POST", f"{self.address}{what}/", body)


def test_operator_walks_through_the_api(whole, token):
    walk = Program(whole, token)
    team = walk.call("POST", "teams/", {"name": "Programs", "rpm": 5000, "time_zone": "Asia/Shanghai"})
    made = walk.call("POST", "keys/", {"name": "program-key", "team": "Programs", "tokens_month": 9_000_000})
    walk.secret, walk.key_id, walk.address = made["secret"], made["id"], f"keys/{made['id']}/"
    assert made["team_id"] == team["id"]
    walk.serves()
    refused = {reason: hit(walk, reason, **{reason: 1}) for reason in LIMITS}
    refused["model"] = hit(walk, "model", allowed_models=["qwen*"])
    refused["network"] = hit(walk, "network", allowed_networks=["203.0.113.0/24"])
    end = datetime.now(UTC) + timedelta(seconds=3)
    refused["expired"] = hit(walk, "expired", expires_at=end.strftime("%Y-%m-%dT%H:%M:%S.%fZ"))
    walk.change()
    walk.serves()
    check_what_is_seen(walk, refused)
    check_endings(walk)
    assert [action for action in audited(walk) if action != "changed"] == [
        "created", "paused", "resumed", "rotated", "revoked",
    ]  # fmt: skip


def hit(walk, reason, **fields):
    walk.change(**fields)
    with walk.held(reason):
        answer = walk.refusal()
    check_refusal(answer, reason)
    return answer.headers["x-request-id"]


def check_what_is_seen(walk, refused):
    """As rows, as sums by reason, and by the key itself."""

    def filed():
        rows = walk.call("GET", f"usage/?key={walk.key_id}&status=refused&range=1h&page_size=200")["results"]
        return {row["request_id"]: row["reason"] for row in rows}

    until(lambda: set(refused.values()) <= set(filed()), every=PAUSE)
    assert {reason: filed()[request_id] for reason, request_id in refused.items()} == {each: each for each in refused}
    sums = walk.call("GET", f"usage/summary/?key={walk.key_id}&range=1h&group_by=reason")["results"]
    assert {row["reason"] for row in sums if row["refused"]} == set(refused)
    told = send(walk.whole, "GET", "/v1/usage", key=walk.secret).json()
    reasons = {row["reason"]: row["explanation"] for row in told["requests"] if row["status"] == "refused"}
    assert [reason for reason in refused if not reasons[reason].startswith(sentence_of(reason))] == []


def check_endings(walk):
    walk.press("pause", reason="holiday")
    check_refusal(walk.refusal(), "paused")
    walk.press("resume")
    walk.serves()
    old, walk.secret = walk.secret, walk.press("rotate", grace="5s")["secret"]
    assert until(lambda: (walk.status(), walk.status(old)) == (200, 200), every=PAUSE)
    assert until(lambda: (walk.status(), walk.status(old)) == (200, 401), every=PAUSE)
    assert walk.press("revoke")["state"] == "revoked"
    check_refusal(walk.refusal(), "revoked")


def audited(walk):
    """The actions in the audit log; each has before → after."""
    path = f"audit/?object_type=accounts.apikey&object_id={walk.key_id}&actor=olga&page_size=200"
    rows = walk.call("GET", path)["results"][::-1]
    assert {row["source"] for row in rows} == {"rest"}
    for name in LIMITS:
        changes = [row["changes"][name] for row in rows if name in row["changes"]]
        assert "1" in [after for _, after in changes]
        assert all(one[1] == other[0] for one, other in pairwise(changes)), (name, changes)
    assert walk.secret not in str(rows)
    return [row["action"] for row in rows]
