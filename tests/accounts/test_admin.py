import logging
import re
from datetime import timedelta

import pytest
from django.contrib.admin.models import LogEntry
from django.contrib.auth.models import Permission, User
from django.contrib.sessions.models import Session
from django.urls import reverse
from django.utils import timezone

from accounts.minting import digest_of, is_minted
from accounts.models import ApiKey, Team, Usage

KEYS = reverse("admin:accounts_apikey_changelist")
ADD = reverse("admin:accounts_apikey_add")
USAGE = reverse("admin:accounts_usage_changelist")

pytestmark = pytest.mark.django_db


def make_key(name="alice", **fields):
    key = ApiKey(name=name, **fields)
    key.renew_secret(b"pepper")
    key.save()
    return key


def make_turn(number, key, **fields):
    plain = {
        "protocol": "openai", "endpoint": "/v1/chat/completions", "model": "org_auto", "stream": True, "status": "ok",
        "queue_ms": 0, "total_ms": 900, "prompt_tokens": 1, "completion_tokens": 2, "started_at": timezone.now(),
    }  # fmt: skip
    return Usage.objects.create(request_id=f"request-{number}", api_key=key, **(plain | fields))


def staff(client, *permissions):
    user = User.objects.create_user("staff", is_staff=True)
    user.user_permissions.set(Permission.objects.filter(codename__in=permissions))
    client.force_login(user)
    return client


def add(client, **fields):
    return client.post(ADD, {"name": "alice", "rpm": 0, "tpm": 0, "concurrency": 0} | fields)


def text_of(response):
    return response.content.decode()


def secrets_in(response):
    return set(re.findall(r"lgw_\w{8}_\w{38}", text_of(response)))


def test_a_new_key_is_shown_on_the_page_that_answers_its_making(admin_client, settings):
    page = add(admin_client)
    (secret,) = secrets_in(page)
    assert is_minted(secret)
    assert ApiKey.objects.get().digest == digest_of(secret, settings.KEY_PEPPER)
    assert "no-store" in page["Cache-Control"]


@pytest.mark.parametrize(
    "client_name", ["Claude Code", "Codex", "opencode", "Cline", "aider", "OpenAI SDK", "Anthropic SDK", "curl"]
)
def test_the_page_has_a_set_up_for_each_client_with_the_address_it_was_asked_at(admin_client, client_name):
    page = text_of(admin_client.post(ADD, {"name": "a", "rpm": 0, "tpm": 0, "concurrency": 0}, HTTP_HOST="localhost"))
    section = page.partition(f">{client_name}<")[2].partition("</section>")[0]
    assert "http://localhost" in section
    assert "lgw_" in section
    assert "data-copy" in section


def test_the_secret_is_nowhere_afterwards(admin_client, caplog):
    with caplog.at_level(logging.DEBUG):
        (secret,) = secrets_in(add(admin_client))
    key = ApiKey.objects.get()
    change = reverse("admin:accounts_apikey_change", args=[key.pk])
    history = reverse("admin:accounts_apikey_history", args=[key.pk])
    for page in (KEYS, change, history, reverse("admin:index")):
        assert secret[13:] not in text_of(admin_client.get(page))
    assert secret[13:] not in caplog.text + repr(LogEntry.objects.values())
    assert all(secret not in repr(session.get_decoded()) for session in Session.objects.all())


def test_a_second_live_key_of_that_name_is_refused_in_the_form(admin_client):
    add(admin_client)
    page = add(admin_client)
    assert "A live key has this name already." in text_of(page)
    assert not secrets_in(page)


def test_lists_of_names_are_tidied_and_a_past_expiry_is_refused(admin_client):
    add(admin_client, allowed_models=" a,, b ,", expires_at_0="2001-01-01", expires_at_1="00:00")
    assert not ApiKey.objects.exists()
    add(admin_client, allowed_models=" a,, b ,")
    assert ApiKey.objects.get().allowed_models == "a, b"


def test_a_pattern_that_makes_no_sense_is_refused_in_the_form(admin_client):
    assert "At most 64 names or patterns." in text_of(add(admin_client, allowed_models="a," * 65))
    assert not ApiKey.objects.exists()


def test_revoking_one_asks_first(admin_client):
    key = make_key()
    url = reverse("admin:accounts_apikey_revoke_one", args=[key.pk])
    assert "Revoke this key?" in text_of(admin_client.get(url))
    assert ApiKey.objects.get().revoked_at is None
    assert admin_client.post(url, {"confirmed": "yes"}).url == KEYS
    assert ApiKey.objects.get().revoked_at


def test_revoking_several_asks_first_and_is_kept_in_the_history(admin_client):
    chosen = {"action": "revoke_selected", "_selected_action": [make_key("a").pk, make_key("b").pk]}
    make_key("c")
    assert "Revoke 2 keys?" in text_of(admin_client.post(KEYS, chosen))
    admin_client.post(KEYS, chosen | {"confirmed": "yes"})
    assert ApiKey.objects.filter(revoked_at=None).count() == 1
    assert LogEntry.objects.filter(change_message="Revoked.").count() == 2


def test_a_revoked_key_can_be_looked_at_only(admin_client):
    key = make_key(revoked_at=timezone.now())
    url = reverse("admin:accounts_apikey_change", args=[key.pk])
    assert admin_client.get(url).status_code == 200
    assert admin_client.post(url, {"name": "other"}).status_code == 403


def test_who_may_only_look_cannot_make_change_or_revoke(client):
    key = make_key()
    staff(client, "view_apikey")
    revoke = reverse("admin:accounts_apikey_revoke_one", args=[key.pk])
    assert client.get(KEYS).status_code == 200
    assert add(client).status_code == 403
    assert client.post(revoke, {"confirmed": "yes"}).status_code == 403
    assert ApiKey.objects.get().revoked_at is None


def test_keys_are_not_deleted(admin_client):
    key = make_key()
    assert admin_client.post(reverse("admin:accounts_apikey_delete", args=[key.pk]), {"post": "yes"}).status_code == 403


@pytest.mark.parametrize(("state", "shown"), [("live", "fresh"), ("expired", "stale"), ("revoked", "gone")])
def test_keys_are_filtered_by_state(admin_client, state, shown):
    make_key("fresh")
    make_key("stale", expires_at=timezone.now() - timedelta(days=1))
    make_key("gone", revoked_at=timezone.now())
    page = text_of(admin_client.get(KEYS, {"state": state}))
    assert [name for name in ("fresh", "stale", "gone") if f">{name}<" in re.sub(r"\s*([<>])\s*", r"\1", page)] == [
        shown
    ]


def test_the_list_of_keys_takes_the_same_queries_however_long(admin_client, django_assert_num_queries):
    for number in range(30):
        make_key(f"key {number}", team=Team.objects.create(name=f"team {number}"))
    with django_assert_num_queries(6):  # session, user, two counts, keys with teams, teams of the filter
        admin_client.get(KEYS)


def test_the_list_of_usage_counts_nothing(admin_client, django_assert_num_queries):
    for number in range(60):
        make_turn(number, make_key(f"key {number}"))
    with django_assert_num_queries(4) as queries:  # session, user, ids of the page, its turns with keys
        page = text_of(admin_client.get(USAGE))
    assert "request-59" in page
    assert " results" not in page
    assert not [query for query in queries if "COUNT" in query["sql"]]


def test_usage_is_found_by_request_and_by_filters(admin_client):
    key = make_key()
    make_turn(1, key)
    make_turn(2, None, status="error", reason="upstream", protocol="anthropic", agent="codex")
    searches = [{"q": "request-2"}, {"status__exact": "error"}, {"protocol": "anthropic"}, {"agent__exact": "codex"}]
    pages = [text_of(admin_client.get(USAGE, search)) for search in searches]
    assert ["request-2" in page and "request-1" not in page for page in pages] == [True] * 4
    by_key = text_of(admin_client.get(USAGE, {"api_key__id__exact": key.pk}))
    assert "request-1" in by_key
    assert "request-2" not in by_key


def test_a_turn_tells_its_program_and_what_became_of_tools(admin_client):
    turn = make_turn(1, make_key(), agent="claude-code", tools="2 parsed; denied run_in_terminal")
    listed = text_of(admin_client.get(USAGE))
    assert "Claude Code" in listed
    assert "2 parsed; denied run_in_terminal" in listed
    page = text_of(admin_client.get(reverse("admin:accounts_usage_change", args=[turn.pk])))
    assert "2 parsed; denied run_in_terminal" in page


def test_usage_can_be_read_only(admin_client):
    turn = make_turn(1, make_key())
    page = admin_client.get(reverse("admin:accounts_usage_change", args=[turn.pk]))
    assert "request-1" in text_of(page)
    assert "_save" not in text_of(page)
    for name, args in (("add", []), ("change", [turn.pk]), ("delete", [turn.pk])):
        assert admin_client.post(reverse(f"admin:accounts_usage_{name}", args=args)).status_code == 403


def test_the_overview_tells_what_the_reader_may_see(admin_client, client):
    make_turn(1, make_key(), model="a-rare-model", status="error", reason="upstream")
    page = text_of(admin_client.get(reverse("admin:index")))
    assert "a-rare-model" in page
    assert "Live keys" in page
    other = text_of(staff(client).get(reverse("admin:index")))
    assert "a-rare-model" not in other
    assert "Live keys" not in other


def test_the_overview_tells_who_is_busy(admin_client):
    ada, bob = make_key("ada"), make_key("bob")
    for number, key in enumerate([ada, bob, bob]):
        make_turn(number, key)
    page = text_of(admin_client.get(reverse("admin:index"))).partition("Busiest keys")[2]
    assert page.index("bob") < page.index("ada")
    assert f"api_key__id__exact={bob.pk}" in page


def test_the_overview_takes_the_same_queries_however_much_there_is(
    admin_client, django_assert_num_queries, redis_server
):
    for number in range(20):
        make_turn(number, make_key(f"key {number}"))
    admin_client.get(reverse("admin:index"))
    with django_assert_num_queries(14):  # of these, five bring the instances up to date
        admin_client.get(reverse("admin:index"))


def test_a_team_with_keys_is_kept_because_of_them(admin_client):
    team = Team.objects.create(name="research")
    make_key(team=team)
    page = text_of(admin_client.get(reverse("admin:accounts_team_delete", args=[team.pk])))
    assert "protected" in page
    assert "permission" not in page


@pytest.mark.parametrize(
    "model",
    ["auth_user", "auth_group", *(f"django_celery_beat_{name}" for name in (
        "periodictask", "intervalschedule", "crontabschedule", "solarschedule", "clockedschedule"))],
)  # fmt: skip
def test_the_pages_of_others_look_like_ours(admin_client, model):
    for page in ("changelist", "add"):
        assert "unfold" in text_of(admin_client.get(reverse(f"admin:{model}_{page}")))


def test_no_page_needs_another_host(admin_client):
    make_turn(1, make_key())
    for page in (reverse("admin:index"), KEYS, ADD, USAGE):
        loaded = re.findall(r'(?:src|href)="(https?:)?//[^"]+"', text_of(admin_client.get(page)))
        assert loaded == []
