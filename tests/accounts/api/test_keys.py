from datetime import UTC, datetime, timedelta

import pytest
from django.conf import settings
from django.utils import timezone

from accounts.models import ApiKey, IdempotentRequest, Team
from accounts.tasks import prune_answers
from gateway_project.lib.secrets.key_secret import digest_of
from tests.accounts.api.conftest import program_of

pytestmark = pytest.mark.django_db


def test_key_is_made_with_its_policy(api, teams):
    answer = api("POST", "keys/", {
        "name": "alice", "team": "core", "rpm": 5, "tokens_day": 1000, "allowed_models": ["gpt-*", "!gpt-5"],
        "allowed_networks": "10.0.0.0/8, ::1", "shadow": ["rpm"], "expires_at": "2030-01-01T00:00:00Z",
    })  # fmt: skip
    assert answer.status_code == 201
    assert answer["Cache-Control"] == "private, no-store"
    key = ApiKey.objects.get()
    assert key.digest == digest_of(answer.data["secret"], settings.KEY_PEPPER)
    assert (key.team, key.rpm, key.tokens_day, key.shadow) == (teams["core"], 5, 1000, "rpm")
    assert (key.allowed_models, key.allowed_networks) == ("gpt-*, !gpt-5", "10.0.0.0/8, ::1")
    shown = api("GET", f"keys/{key.pk}/").data
    assert shown == {name: value for name, value in answer.data.items() if name != "secret"}
    assert (shown["team"], shown["team_id"], shown["state"]) == ("core", teams["core"].pk, "live")
    assert shown["allowed_models"] == ["gpt-*", "!gpt-5"]


def test_answers_beside_creation_and_rotation_have_no_secrets(api, keys):
    key = keys["core"]
    answers = [api("GET", "keys/"), api("GET", f"keys/{key.pk}/"), api("POST", f"keys/{key.pk}/pause/", {}),
               api("PATCH", f"keys/{key.pk}/", {"rpm": 1})]  # fmt: skip
    for answer in answers:
        assert answer.status_code == 200
        assert b"secret" not in answer.content
        assert key.digest.encode() not in answer.content


def test_expiry_may_be_told_from_now(api):
    made = api("POST", "keys/", {"name": "new", "expires_at": "30d"}).data
    left = datetime.fromisoformat(made["expires_at"]) - datetime.now(UTC)
    assert timedelta(days=29, hours=23) < left <= timedelta(days=30)


def test_extended_end_stays_with_other_changes(api, keys):
    key, end = keys["web"], timezone.now() + timedelta(days=31)
    # It has expired, counted from its first use, and was extended.
    ApiKey.objects.filter(pk=key.pk).update(
        expires_after_days=30, first_used_at=timezone.now() - timedelta(days=40), expires_at=end
    )
    changed = api("PATCH", f"keys/{key.pk}/", {"rpm": 5}).data
    assert (changed["state"], datetime.fromisoformat(changed["expires_at"])) == ("live", end)
    whole = api("GET", f"keys/{key.pk}/").data | {"rpm": 6}
    answer = api("PATCH", f"keys/{key.pk}/", whole)
    assert (answer.status_code, answer.data["expires_at"]) == (200, changed["expires_at"])
    key.refresh_from_db()
    assert (key.rpm, key.expires_at) == (6, end)


@pytest.mark.parametrize("method", ["GET", "POST"])
def test_address_without_its_slash_leads_on(api, method):
    answer = api(method, "keys", {"name": "new"} if method == "POST" else None)
    assert (answer.status_code, answer["Location"]) == (301 if method == "GET" else 308, "/api/keys/")


@pytest.mark.parametrize(
    ("field", "value"),
    [
        ("expires_at", "0d"), ("expires_at", "999999d"), ("expires_at", "30"),
        ("name", ""), ("name", "x\0"), ("name", "a\u202eb"), ("team", "nobody's"),
        ("team", 10**30), ("expires_after_days", 10**9),
        ("team", True), ("rpm", -1), ("rpm", 10**30), ("rpm", "many"), ("requests_day", None), ("shadow", ["rpn"]),
        ("allowed_models", [1]), ("allowed_models", {"a": 1}), ("allowed_networks", ["10/8/8"]),
        ("scopes", ["root"]), ("tool_mode", "odd"), ("expires_at", "2020-01-01T00:00:00Z"), ("expires_at", "soon"),
        ("expires_at", "9999-12-31T23:59:59-12:00"), ("expires_after_days", 0),
        ("rpm", 2**31), ("tpm", 2**31), ("concurrency", 2**31),
    ],
)  # fmt: skip
def test_flaw_is_named_by_its_field(api, keys, field, value):
    new = api("POST", "keys/", {"name": "new"} | {field: value})
    changed = api("PATCH", f"keys/{keys['web'].pk}/", {field: value})
    for answer in (new, changed):
        assert answer.status_code == 400
        assert list(answer.data["errors"]) == [field]
        assert field in answer.data["detail"]
    assert ApiKey.objects.count() == 3


def test_change_writes_what_was_sent(api, keys, teams):
    key = keys["core"]
    answer = api("PATCH", f"keys/{key.pk}/", {"team": teams["web"].pk, "concurrency": 4, "expires_at": None, "rpm": 7})
    assert answer.status_code == 200
    key.refresh_from_db()
    assert (key.team, key.concurrency, key.rpm, key.expires_at) == (teams["web"], 4, 7, None)
    assert api("PATCH", f"keys/{key.pk}/", {"team": None}).data["team"] is None


def test_past_expiry_may_stay(api, keys):
    key = keys["core"]
    ApiKey.objects.filter(pk=key.pk).update(expires_at=datetime(2020, 1, 1, tzinfo=UTC))
    shown = api("GET", f"keys/{key.pk}/").data
    assert shown["state"] == "expired"
    assert api("PATCH", f"keys/{key.pk}/", {"expires_at": shown["expires_at"], "rpm": 1}).status_code == 200


def test_old_invisible_name_may_stay(api, keys):
    key = keys["core"]
    ApiKey.objects.filter(pk=key.pk).update(name="a\u202eb")
    whole = api("GET", f"keys/{key.pk}/").data
    assert api("PATCH", f"keys/{key.pk}/", whole | {"rpm": 1}).status_code == 200
    assert api("PATCH", f"keys/{key.pk}/", {"name": "a\u202ec"}).status_code == 400


@pytest.mark.parametrize("grace", ["1h", "PT1H", 3600, "3600", "60m"])
def test_rotation_with_grace_keeps_the_old_secret(api, keys, grace):
    key = keys["core"]
    answer = api("POST", f"keys/{key.pk}/rotate/", {"grace": grace})
    assert answer.status_code == 200
    old, key = key, ApiKey.objects.get(pk=key.pk)
    assert key.digest == digest_of(answer.data["secret"], settings.KEY_PEPPER)
    assert key.previous_digest == old.digest
    assert timedelta(minutes=59) < key.previous_until - timezone.now() <= timedelta(hours=1)


def test_rotation_without_grace_ends_the_old_secret(api, keys):
    answer = api("POST", f"keys/{keys['core'].pk}/rotate/")
    assert answer.status_code == 200
    assert ApiKey.objects.get(pk=keys["core"].pk).previous_until <= timezone.now()


@pytest.mark.parametrize("grace", ["soon", -1, "-1h", "31d", 10**20, "9" * 30 + "w", "P9999999999D", None, True, [1]])
def test_grace_that_makes_no_sense_is_refused(api, keys, grace):
    answer = api("POST", f"keys/{keys['core'].pk}/rotate/", {"grace": grace})
    assert (answer.status_code, list(answer.data["errors"])) == (400, ["grace"])
    assert ApiKey.objects.get(pk=keys["core"].pk).digest == keys["core"].digest


def test_key_is_paused_resumed_and_revoked(api, keys):
    path = f"keys/{keys['core'].pk}"
    paused = api("POST", f"{path}/pause/", {"reason": "odd use"}).data
    assert (paused["state"], paused["pause_reason"]) == ("paused", "odd use")
    assert api("GET", "keys/?state=paused").data["results"] == [paused]
    held = api("POST", f"{path}/quarantine/", {"reason": "leaked"}).data
    assert (held["state"], held["quarantine_reason"]) == ("quarantined", "leaked")
    assert api("GET", "keys/?state=quarantined").data["results"] == [held]
    assert api("GET", "keys/?state=paused").data["results"] == []
    assert api("POST", f"{path}/resume/").data["state"] == "live"
    assert api("POST", f"{path}/revoke/").data["state"] == "revoked"
    assert api("POST", f"{path}/revoke/").status_code == 200
    for method, below in (
        ("POST", "pause/"),
        ("POST", "quarantine/"),
        ("POST", "resume/"),
        ("POST", "rotate/"),
        ("PATCH", ""),
    ):
        answer = api(method, f"{path}/{below}", {} if below else {"rpm": 1})
        assert (answer.status_code, answer.data["code"]) == (409, "revoked")


def test_keys_are_never_deleted(api, keys):
    answer = api("DELETE", f"keys/{keys['core'].pk}/")
    assert (answer.status_code, "DELETE" in answer["Allow"]) == (405, False)


def test_name_is_taken_within_its_team_alone(api, keys):
    answers = [
        api("POST", "keys/", {"name": "key of core", "team": "core"}),
        api("POST", "keys/", {"name": "key of alone"}),
        api("PATCH", f"keys/{keys['web'].pk}/", {"name": "key of core", "team": "core"}),
    ]
    for answer in answers:
        assert (answer.status_code, list(answer.data["errors"])) == (400, ["name"])
    assert api("POST", "keys/", {"name": "key of core", "team": "web"}).status_code == 201
    assert api("POST", "keys/", {"name": "key of core"}).status_code == 201


def test_list_is_filtered_ordered_and_paged(api, keys, teams):
    def names(query):
        return [key["name"].removeprefix("key of ") for key in api("GET", f"keys/{query}").data["results"]]

    assert names("?ordering=name") == ["alone", "core", "web"]
    assert names("?ordering=-name") == ["web", "core", "alone"]
    assert names("?team=core") == names(f"?team={teams['core'].pk}") == ["core"]
    assert names("?team=none") == ["alone"]
    assert names("?state=revoked") == []
    first = api("GET", "keys/?ordering=name&page_size=2").data
    assert [key["name"] for key in first["results"]] == ["key of alone", "key of core"]
    assert names(first["next"].partition("/api/keys/")[2]) == ["web"]
    for query in ("?ordering=digest", "?state=odd", "?nmae=x", "?cursor=cD05OTk5"):
        assert api("GET", f"keys/{query}").status_code == 400, query


def test_same_idempotency_key_makes_one(api):
    body = {"name": "alice", "rpm": 5}
    first = api("POST", "keys/", body, Idempotency_Key="abc")
    again = api("POST", "keys/", dict(reversed(body.items())), Idempotency_Key="abc")
    assert (first.status_code, again.status_code) == (201, 201)
    assert again.data == first.data
    assert (again["Idempotency-Replayed"], "Idempotency-Replayed" in first) == ("true", False)
    assert ApiKey.objects.count() == 1
    assert first.data["secret"].encode() not in IdempotentRequest.objects.get().answer.token


def test_answer_under_lost_key_is_409(api, settings):
    api("POST", "keys/", {"name": "alice"}, Idempotency_Key="abc")
    settings.SECRET_KEYS = ["a key of another installation"]
    again = api("POST", "keys/", {"name": "alice"}, Idempotency_Key="abc")
    assert (again.status_code, again.data["code"]) == (409, "secret_unreadable")
    assert "SECRET_KEYS" in again.data["detail"]


def test_idempotency_key_of_another_request_is_refused(api, root):
    api("POST", "keys/", {"name": "alice"}, Idempotency_Key="abc")
    for path, body in (("keys/", {"name": "bob"}), ("teams/", {"name": "alice"})):
        answer = api("POST", path, body, Idempotency_Key="abc")
        assert (answer.status_code, answer.data["code"]) == (422, "idempotency_key_reused")
    assert (ApiKey.objects.count(), Team.objects.count()) == (1, 0)


def test_idempotency_keys_are_each_users_own(api, viewer, django_user_model):
    other = program_of(django_user_model.objects.create_superuser("other"))
    api("POST", "teams/", {"name": "a"}, Idempotency_Key="abc")
    assert other("POST", "teams/", {"name": "b"}, Idempotency_Key="abc").status_code == 201
    assert viewer("POST", "teams/", {"name": "a"}, Idempotency_Key="abc").status_code == 403


def test_refused_request_does_not_use_up_its_key(api):
    assert api("POST", "teams/", {"name": ""}, Idempotency_Key="abc").status_code == 400
    assert api("POST", "teams/", {"name": "a"}, Idempotency_Key="abc").status_code == 201


def test_idempotency_key_lasts_a_day(api):
    api("POST", "teams/", {"name": "a"}, Idempotency_Key="abc")
    IdempotentRequest.objects.update(created_at=timezone.now() - timedelta(hours=25))
    assert api("POST", "teams/", {"name": "b"}, Idempotency_Key="abc").status_code == 201
    assert IdempotentRequest.objects.count() == 1


def test_stored_answers_are_deleted_after_a_day(api):
    for key in ("old", "new"):
        api("POST", "teams/", {"name": key}, Idempotency_Key=key)
    for key, hours in (("old", 25), ("new", 23)):
        IdempotentRequest.objects.filter(key=key).update(created_at=timezone.now() - timedelta(hours=hours))
    assert prune_answers() == 1
    assert IdempotentRequest.objects.get().key == "new"


@pytest.mark.parametrize("key", ["x" * 300, "\x7f"])
def test_idempotency_key_is_bounded(api, key):
    answer = api("POST", "teams/", {"name": "a"}, Idempotency_Key=key)
    assert answer.data["errors"] == {"Idempotency-Key": ["It has at most 255 characters, all of them printable."]}


def test_pages_of_one_name_come_to_an_end(api):
    ended = timezone.now()
    ApiKey.objects.bulk_create(
        ApiKey(name="playground: ann", digest=f"{number:064x}", revoked_at=ended) for number in range(3001)
    )
    path, seen = "keys/?ordering=name&page_size=1000", []
    for _ in range(4):
        page = api("GET", path).data
        seen += [key["id"] for key in page["results"]]
        path = (page["next"] or "").partition("/api/")[2]
    assert (path, len(set(seen)), len(seen)) == ("", 3001, 3001)
