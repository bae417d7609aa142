"""Every change by a program is one row of the audit log, in the name of its user."""

import pytest

from accounts.models import AuditEntry

pytestmark = pytest.mark.django_db


@pytest.fixture
def written(keys):
    """The rows since the last look: action, what it was done to, and by whom."""
    seen = set(AuditEntry.objects.values_list("pk", flat=True))

    def written():
        new = AuditEntry.objects.exclude(pk__in=seen).order_by("pk")
        rows = [(each.action, each.object_type, each.actor, each.source) for each in new]
        seen.update(new.values_list("pk", flat=True))
        return rows

    return written


@pytest.mark.parametrize(
    ("method", "path", "body", "action", "kind"),
    [
        ("POST", "keys/", {"name": "new"}, "created", "accounts.apikey"),
        ("PATCH", "keys/{key}/", {"rpm": 9, "allowed_models": ["a"]}, "changed", "accounts.apikey"),
        ("POST", "keys/{key}/rotate/", {"grace": "1h"}, "rotated", "accounts.apikey"),
        ("POST", "keys/{key}/pause/", {}, "paused", "accounts.apikey"),
        ("POST", "keys/{key}/quarantine/", {"reason": "leaked"}, "quarantined", "accounts.apikey"),
        ("POST", "keys/{key}/revoke/", None, "revoked", "accounts.apikey"),
        ("POST", "teams/", {"name": "new", "members": ["root"]}, "created", "accounts.team"),
        ("PATCH", "teams/{team}/", {"rpm": 9, "members": ["root"]}, "changed", "accounts.team"),
        ("PUT", "teams/{team}/", {"name": "other"}, "changed", "accounts.team"),
        ("POST", "aliases/", {"pattern": "new-*"}, "created", "bridge.modelalias"),
        (
            "POST",
            "alert-channels/",
            {"name": "ops", "address": "https://hook.example/x"},
            "created",
            "accounts.alertchannel",
        ),
        ("POST", "prompts/", {"pattern": "new-*"}, "created", "bridge.prompttemplate"),
    ],
)
def test_change_is_one_row(api, keys, teams, written, method, path, body, action, kind):
    path = path.format(key=keys["core"].pk, team=teams["core"].pk)
    assert api(method, path, body).status_code in (200, 201)
    assert written() == [(action, kind, "root", "rest")]


def test_request_that_changes_nothing_leaves_no_row(api, keys, written):
    path = f"keys/{keys['core'].pk}/"
    assert api("PATCH", path, {"rpm": 0}).status_code == 200
    assert api("POST", f"{path}resume/").status_code == 200
    assert api("PATCH", path, {"rpm": -1}).status_code == 400
    assert api("GET", path).status_code == 200
    assert written() == []


def test_repeated_creation_is_one_row(api, written):
    for _ in range(2):
        assert api("POST", "keys/", {"name": "new"}, Idempotency_Key="k").status_code == 201
    assert written() == [("created", "accounts.apikey", "root", "rest")]


def test_deletion_is_one_row(api, teams, written):
    made = api("POST", "teams/", {"name": "short"}).data
    written()
    assert api("DELETE", f"teams/{made['id']}/").status_code == 204
    assert written() == [("deleted", "accounts.team", "root", "rest")]


def test_rows_hold_no_secret(api, written):
    made = api("POST", "keys/", {"name": "new"}).data
    rotated = api("POST", f"keys/{made['id']}/rotate/").data
    text = str(api("GET", "audit/").data)
    assert made["secret"] not in text
    assert rotated["secret"] not in text
