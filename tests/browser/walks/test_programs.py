"""The operator's walk once more, by programs: what the console can do, the API can."""

import subprocess
import sys

import pytest

from accounts.models import LIMITS
from tests.browser.walks.steps import Program, audit_path, trail
from tests.e2e.installation import ROOT, environment


@pytest.fixture(scope="module")
def token(whole):
    made = subprocess.run(
        [sys.executable, "manage.py", "create_api_token", "olga", "--expires", "1d"],
        cwd=ROOT, env=environment(whole.directory), capture_output=True, text=True, check=True, timeout=60,
    )  # fmt: skip
    return made.stdout.strip()


def test_operator_walks_through_the_api(whole, token):
    walk = Program(whole, token)
    team = walk.call("POST", "teams/", {"name": "Programs", "rpm": 5000, "time_zone": "Asia/Shanghai"})
    made = walk.make_key("program-key", "Programs", tokens_month=9_000_000)
    assert made["team_id"] == team["id"]
    walk.serves()
    walk.check_refusals(model={"allowed_models": ["qwen*"]}, network={"allowed_networks": ["203.0.113.0/24"]})
    audited = walk.answer("GET", audit_path(walk, "olga")).json()
    assert trail(walk, audited, "rest", **dict.fromkeys(LIMITS, "1")) == [
        "created", "paused", "resumed", "rotated", "revoked",
    ]  # fmt: skip
