"""How limits stand, by REST: what the console shows, for whoever may see the key or the team."""

import time
from datetime import UTC, datetime

import pytest
import redis
from django.utils.timezone import get_default_timezone_name

from accounts.limits.counters import shadow_key
from accounts.limits.periods import periods_at
from accounts.models import ApiKey, Team
from gateway_project.lib.redis import redis_keys
from tests.accounts.api.conftest import program_of

pytestmark = pytest.mark.django_db


@pytest.fixture
def limited(redis_server, keys, teams):
    """The key of the team core, which has made two requests, and its team; a limit of each is in shadow mode."""
    key = keys["core"]
    ApiKey.objects.filter(pk=key.pk).update(rpm=40, concurrency=4, shadow="rpm")
    Team.objects.filter(pk=key.team_id).update(tokens_day=5000, shadow="tokens_day", time_zone="Asia/Shanghai")
    now = time.time()
    with redis.Redis.from_url(redis_server) as client:
        client.flushall()
        client.zadd(redis_keys.limits("key", key.pk)[0], {"r1": now, "r2": now})
        for at, count in ((now, 4), (periods_at(now, get_default_timezone_name()).starts[0] - 1, 37)):
            others = {f"{keys['web'].pk}:k:1": 9, f"{keys['web'].pk}:t:7": 9}  # count for neither
            client.hset(shadow_key(at), mapping={f"{key.pk}:k:1": count, f"{key.pk}:t:7": 2, **others})
    return key


def test_key_has_its_limits_and_its_teams(api, limited):
    answer = api("GET", f"keys/{limited.pk}/limits/")
    assert answer.status_code == 200
    rpm, concurrency, tokens = answer.data["limits"]
    reset = datetime.fromisoformat(rpm.pop("resets_at"))
    assert 0 < (reset - datetime.now(UTC)).total_seconds() <= 61
    assert rpm == {
        "name": "rpm", "scope": "key", "limit": 40, "used": 2, "remaining": 38, "shadow": True,
        "would_have_refused": {"today": 4, "yesterday": 37},
    }  # fmt: skip
    assert concurrency == {
        "name": "concurrency", "scope": "key", "limit": 4, "used": 0, "remaining": 4, "shadow": False,
        "resets_at": None, "would_have_refused": None,
    }  # fmt: skip
    assert (tokens["name"], tokens["scope"], tokens["remaining"]) == ("tokens_day", "team", 5000)
    assert tokens["would_have_refused"] == {"today": 2, "yesterday": 2}
    assert tokens["resets_at"].endswith("T16:00:00Z"), "midnight in Shanghai"


def test_team_has_its_own_limits_alone(api, limited):
    (tokens,) = api("GET", f"teams/{limited.team_id}/limits/").data["limits"]
    assert (tokens["name"], tokens["scope"], tokens["limit"], tokens["used"]) == ("tokens_day", "team", 5000, 0)
    assert tokens["would_have_refused"] == {"today": 2, "yesterday": 2}


def test_unlimited_keys_and_teams_list_no_limits(api, redis_server, keys, teams):
    for path in (f"keys/{keys['alone'].pk}", f"teams/{teams['web'].pk}"):
        assert api("GET", f"{path}/limits/").data == {"limits": []}


def test_lead_sees_limits_of_the_own_alone(lead, limited, keys, teams):
    own, other = (keys["core"].pk, teams["core"].pk), (keys["web"].pk, teams["web"].pk)
    for (key, team), status in ((own, 200), (other, 404)):
        for path in (f"keys/{key}/limits/", f"teams/{team}/limits/"):
            assert lead("GET", path).status_code == status
    assert lead("GET", f"keys/{keys['alone'].pk}/limits/").status_code == 404


def test_limits_are_seen_with_their_key(viewer, member, limited):
    for path in (f"keys/{limited.pk}/limits/", f"teams/{limited.team_id}/limits/"):
        assert viewer("GET", path).status_code == 200
        assert viewer("POST", path, {}).status_code == 405
        assert member("GET", path).status_code == 403


def test_token_of_another_resource_reads_no_limits(root, limited):
    for scopes, status in ((["usage"], 403), (["keys", "read"], 200)):
        assert program_of(root, scopes=scopes)("GET", f"keys/{limited.pk}/limits/").status_code == status


def test_limits_without_redis_are_unavailable(api, limited, settings, tmp_path):
    settings.ENV = settings.ENV.model_copy(update={"redis_url": f"unix://{tmp_path / 'nobody.sock'}"})
    answer = api("GET", f"keys/{limited.pk}/limits/")
    assert (answer.status_code, answer.data["code"]) == (503, "unavailable")
