import html
import logging
import re
from datetime import timedelta

import pytest
from django.contrib.admin.models import LogEntry
from django.contrib.auth.models import Permission, User
from django.contrib.sessions.models import Session
from django.urls import reverse
from django.utils import timezone

from accounts.ledger import hours
from accounts.models import ApiKey, Team, Usage, names_in
from accounts.patterns import allows
from gateway_project.lib.secrets.key_secret import digest_of, is_generated

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


def test_new_key_is_shown_once_after_creation(admin_client, settings):
    page = add(admin_client)
    (secret,) = secrets_in(page)
    assert is_generated(secret)
    assert ApiKey.objects.get().digest == digest_of(secret, settings.KEY_PEPPER)
    assert "no-store" in page["Cache-Control"]


def test_page_has_setup_for_each_client(admin_client):
    page = text_of(admin_client.post(ADD, {"name": "a", "rpm": 0, "tpm": 0, "concurrency": 0}, HTTP_HOST="localhost"))
    for name in ("Claude Code", "Codex", "opencode", "Cline", "aider", "OpenAI SDK", "Anthropic SDK", "curl"):
        section = page.partition(f">{name}<")[2].partition("</section>")[0]
        assert all(part in section for part in ("http://localhost", "lgw_", "data-copy")), name


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


def test_second_live_key_of_a_name_is_refused(admin_client):
    add(admin_client)
    page = add(admin_client)
    assert "A live key of this team has this name already." in text_of(page)
    assert not secrets_in(page)


def test_name_lists_are_tidied_and_past_expiry_refused(admin_client):
    add(admin_client, allowed_models=" a,, b ,", expires_at_0="2001-01-01", expires_at_1="00:00")
    assert not ApiKey.objects.exists()
    add(admin_client, allowed_models=" a,, b ,")
    assert ApiKey.objects.get().allowed_models == "a, b"


def test_invalid_pattern_is_refused_in_the_form(admin_client):
    assert "At most 64 names or patterns." in text_of(add(admin_client, allowed_models="a," * 65))
    assert not ApiKey.objects.exists()


def test_revocation_of_one_asks_first(admin_client):
    key = make_key()
    url = reverse("admin:accounts_apikey_revoke_one", args=[key.pk])
    assert "Revoke this key?" in text_of(admin_client.get(url))
    assert ApiKey.objects.get().revoked_at is None
    assert admin_client.post(url, {"confirmed": "yes"}).url == KEYS
    assert ApiKey.objects.get().revoked_at


def test_bulk_revocation_asks_first_and_is_logged(admin_client):
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
    assert admin_client.post(url, {"name": "other"}).status_code == 302
    assert ApiKey.objects.get().name == key.name


def test_viewer_cannot_add_change_or_revoke(client):
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


def test_key_list_queries_do_not_grow(admin_client, django_assert_num_queries):
    for number in range(30):
        make_key(f"key {number}", team=Team.objects.create(name=f"team {number}"))
    # Session, user, two counts, keys with teams, teams of the filter, turns, limit hits.
    with django_assert_num_queries(8):
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


def test_turn_page_shows_program_and_tools(admin_client):
    turn = make_turn(1, make_key(), agent="claude-code", tools="2 parsed; denied run_in_terminal")
    listed = text_of(admin_client.get(USAGE))
    assert "Claude Code" in listed
    assert "2 parsed; denied run_in_terminal" in listed
    page = text_of(admin_client.get(reverse("admin:accounts_usage_change", args=[turn.pk])))
    assert "2 parsed; denied run_in_terminal" in page


@pytest.mark.parametrize(
    ("source", "shown"), [("upstream", "Lingma"), ("estimate", "估算"), ("partial", "估算至中断处")]
)
def test_turn_names_where_tokens_come_from(admin_client, source, shown):
    turn = make_turn(1, make_key(), instance="w1-i1", usage_source=source)
    for page in (USAGE, reverse("admin:accounts_usage_change", args=[turn.pk])):
        text = text_of(admin_client.get(page, headers={"accept-language": "zh-hans"}))
        assert (shown in text, source in text) == (True, False), page


def test_usage_can_be_read_only(admin_client):
    turn = make_turn(1, make_key())
    page = admin_client.get(reverse("admin:accounts_usage_change", args=[turn.pk]))
    assert "request-1" in text_of(page)
    assert "_save" not in text_of(page)
    for name, args in (("add", []), ("change", [turn.pk]), ("delete", [turn.pk])):
        assert admin_client.post(reverse(f"admin:accounts_usage_{name}", args=args)).status_code == 403


def test_overview_shows_what_the_reader_may_see(admin_client, client):
    make_turn(1, make_key(), model="a-rare-model", status="error", reason="upstream")
    page = text_of(admin_client.get(reverse("admin:index")))
    assert "a-rare-model" in page
    assert "Live keys" in page
    other = text_of(staff(client).get(reverse("admin:index")))
    assert "a-rare-model" not in other
    assert "Live keys" not in other


def figure(page, name):
    """(value, tone, address) of a figure."""
    card = page.partition(f">{name}<")
    address = card[0].rpartition('href="')[2].partition('"')[0]
    value = re.search(r"gw-figure text-important( gw-\w+)?\">([^<]*)<", card[2])
    return value[2], (value[1] or "").strip(), html.unescape(address)


def listed(client, address):
    return set(re.findall(r"request-\d+", text_of(client.get(address))))


OUTAGE = [
    ("ok", "stop", 1), ("error", "upstream", 1), ("refused", "unavailable", 1), ("refused", "overloaded", 20),
    ("refused", "rpm", 300), ("refused", "model", 1), ("cancelled", "client_closed", 1), ("error", "slow_client", 1),
    ("error", "permission", 1), ("error", "context_full", 1),
]  # fmt: skip


def test_outage_counts_under_any_of_its_words(admin_client):
    key, day = make_key(), timedelta(days=1)
    for number, (status, reason, count) in enumerate(OUTAGE):
        make_turn(number, key, status=status, reason=reason, count=count)
        make_turn(number + 100, key, status=status, reason=reason, started_at=timezone.now() - day * 2)
    page = text_of(admin_client.get(reverse("admin:index")))
    failed, _, address = figure(page, "Failed in 24 hours")
    assert failed == "23"
    assert figure(page, "Failed in the last hour (the day before: –)")[:2] == ("7.0\N{NO-BREAK SPACE}%", "gw-bad")
    assert "7.0\N{NO-BREAK SPACE}% of the turns of the last hour failed, the first at " in page
    assert listed(admin_client, address) == {"request-1", "request-2", "request-3", "request-8"}
    away, _, address = figure(page, "Turned away in 24 hours")
    assert away == "303"
    assert listed(admin_client, address) == {"request-4", "request-5", "request-7", "request-9"}
    assert "refused: rpm × 300" in text_of(admin_client.get(address))
    assert listed(admin_client, figure(page, "Turns in 24 hours")[2]) == {f"request-{number}" for number in range(10)}
    of_key = re.search(r'href="([^"]*key=[^"]*outcome=failed[^"]*)"[^>]*>23<', page)[1]
    assert listed(admin_client, html.unescape(of_key)) == {"request-1", "request-2", "request-3", "request-8"}


@pytest.mark.parametrize("permissions", [(), ("view_apikey",), ("view_user",)])
def test_hidden_turns_are_not_reported_as_absent(client, permissions):
    make_turn(1, make_key())
    page = text_of(staff(client, *permissions).get(reverse("admin:index")))
    assert "No turns yet" not in page
    assert "Turns are not shown to you" in page


def test_overview_without_turns_explains_itself(admin_client):
    assert "No turns yet" in text_of(admin_client.get(reverse("admin:index")))


HOSTILE = "x\x1b[2J\u202egnp.exe"


def test_a_callers_words_are_spelled_in_the_console(admin_client):
    turn = make_turn(1, make_key(f"key{HOSTILE}"), model=HOSTILE, tools=f"denied {HOSTILE}", reason=HOSTILE)
    for page in (USAGE, reverse("admin:index"), KEYS, reverse("admin:accounts_usage_change", args=[turn.pk])):
        text = text_of(admin_client.get(page))
        assert r"x\x1b[2J\u202egnp.exe" in text
        assert not {"\x1b", "\u202e"} & set(text)


@pytest.mark.parametrize("page", [reverse("admin:index"), KEYS, ADD, USAGE])
def test_simulator_notice_is_on_every_page(admin_client, page):
    assert re.search(r">\s*Simulator\s*<", text_of(admin_client.get(page)))


def test_a_scope_that_opens_nothing_is_refused(admin_client):
    assert "There is no scope metrcis. Known: metrics." in text_of(add(admin_client, scopes="metrcis"))
    add(admin_client, scopes="metrics")
    assert ApiKey.objects.get().scopes == "metrics"


@pytest.mark.parametrize(
    "allowed", ["dashscope_qwen3_coder", "Claude-*", "qwen-max, claude-opus-4-1", "nothing-known-?*", "org_auto"]
)
def test_setups_of_new_key_use_an_allowed_model(admin_client, allowed):
    page = html.unescape(text_of(add(admin_client, allowed_models=allowed)))
    patterns = frozenset(names_in(allowed))
    for asked in re.findall(r'model(?:="|": ")([^"]+)"|Model ID  ([^\s<]+)|--model openai/([^\s<]+)', page):
        assert allows(patterns, [next(filter(None, asked)).removeprefix("lingma/")]), asked
    claude = page.partition(">Claude Code<")[2].partition("</section>")[0]
    pinned = re.findall(r'export (?:ANTHROPIC|CLAUDE)\w*MODEL="([^"]*)"', claude)
    assert pinned or allows(patterns, ["claude-sonnet-4-5"])
    assert all(allows(patterns, [name]) for name in pinned)


@pytest.mark.parametrize(
    "allowed",
    ["x$(touch pwned)", "x`id`", 'x";id;"', "x y", "x$(id)*", "x\\"],
    ids=["$", "`", "quote", "blank", "*", "\\"],
)
def test_setups_hold_nothing_that_a_shell_runs(admin_client, settings, allowed):
    page = html.unescape(text_of(add(admin_client, allowed_models=allowed)))
    named = re.findall(r'MODEL="(.*?)"|"model": "(.*?)"|Model ID  ([^<\n]*)|--model openai/([^<\n]*)', page)
    assert {next(filter(None, each)).removeprefix("lingma/") for each in named} == {settings.ENV.default_model}


def test_unrestricted_key_gets_default_model_in_setups(admin_client):
    page = html.unescape(text_of(add(admin_client)))
    assert 'model="org_auto"' in page
    assert "ANTHROPIC_MODEL" not in page


def test_history_outlives_who_made_it(client, admin_client):
    ada = User.objects.create_superuser("ada")
    client.force_login(ada)
    add(client)
    page = reverse("admin:auth_user_delete", args=[ada.pk])
    admin_client.post(page, {"post": "yes"})
    assert not User.objects.filter(pk=ada.pk).exists()
    history = reverse("admin:accounts_apikey_history", args=[ApiKey.objects.get().pk])
    assert "ada (console, 127.0.0.1)" in text_of(admin_client.get(history))


@pytest.mark.parametrize("active", [True, False])
def test_users_delete_neither_themselves_nor_last_superuser(admin_client, admin_user, active):
    User.objects.create_superuser("other", is_active=active)
    page = text_of(admin_client.post(reverse("admin:auth_user_delete", args=[admin_user.pk]), {"post": "yes"}))
    assert "that is you" in page
    assert ("nobody else may manage users" in page) is not active
    assert User.objects.filter(pk=admin_user.pk).exists()


def test_user_who_did_nothing_can_be_deleted(admin_client):
    user = User.objects.create_user("unused")
    admin_client.post(reverse("admin:auth_user_delete", args=[user.pk]), {"post": "yes"})
    assert not User.objects.filter(pk=user.pk).exists()


def test_filters_and_row_actions_are_buttons(admin_client):
    make_key()
    page = text_of(admin_client.get(KEYS))
    assert re.search(r'<button[^>]*aria-controls="changelist-filter"', page)
    assert re.search(r'<button[^>]*aria-label="More actions"', page)


def test_overview_shows_who_is_busy(admin_client):
    ada, bob = make_key("ada"), make_key("bob")
    for number, key in enumerate([ada, bob, bob]):
        make_turn(number, key)
    page = text_of(admin_client.get(reverse("admin:index"))).partition("Busiest keys")[2]
    assert page.index("bob") < page.index("ada")
    assert f"key={bob.pk}&amp;" in page


def test_overview_counts_a_busy_day_whole(admin_client):
    key, since = make_key(), timezone.now() - timedelta(hours=2)
    turn = make_turn(0, key, count=30_001, status="refused", reason="rpm", started_at=since)
    plain = {each.attname: getattr(turn, each.attname) for each in Usage._meta.concrete_fields if each.name != "id"}
    Usage.objects.bulk_create(
        Usage(**plain | {"request_id": f"many-{number}", "count": 1, "status": "error", "reason": "upstream"})
        for number in range(10_050)
    )
    hours.rebuild(since - timedelta(hours=1), timezone.now())
    page = text_of(admin_client.get(reverse("admin:index")))
    for name, count in (("Turns", "40,051"), ("Failed", "10,050"), ("Turned away", "30,001")):
        value, _, address = figure(page, f"{name} in 24 hours")
        assert value == count
        assert f"Turns in all: {count}" in text_of(admin_client.get(address))
    assert "40,051" in page.partition("Busiest keys")[2]


def test_page_after_the_last_says_so(admin_client):
    make_turn(1, make_key())
    page = text_of(admin_client.get(USAGE, {"p": 900, "outcome": "turned_away"}))
    assert "There is no page 900" in page
    assert "No turns yet" not in page
    assert 'href="?outcome=turned_away"' in page


def test_usage_list_leads_to_more_filters(admin_client):
    key = make_key()
    for number, failed in enumerate(({}, {"status": "error", "reason": "upstream"})):
        make_turn(number, key, **failed)
    hours.rebuild(timezone.now() - timedelta(hours=2), timezone.now())
    given = {"api_key__id__exact": key.pk, "outcome": "failed", "started_at__gte": "2026-01-01T00:00:00Z"}
    links = admin_client.get(USAGE, given).context["same_filters"]
    assert listed(admin_client, links["rows"]) == {"request-1"}
    assert "Turns in all: 1" in text_of(admin_client.get(links["rows"]))
    assert f"key={key.pk}" in links["filters"]
    assert "range=30d" in admin_client.get(USAGE).context["same_filters"]["filters"]


def test_times_carry_their_zone(admin_client):
    key = make_key(expires_at=timezone.now() + timedelta(days=3))
    turn = make_turn(1, key, started_at=timezone.now())
    when = f"{turn.started_at:%Y-%m-%d %H:%M:%S} UTC"
    assert when in text_of(admin_client.get(USAGE))
    assert when in text_of(admin_client.get(reverse("admin:accounts_usage_change", args=[turn.pk])))
    of_key = text_of(admin_client.get(reverse("admin:accounts_apikey_change", args=[key.pk])))
    assert f"{key.created_at:%Y-%m-%d %H:%M:%S} UTC" in of_key
    assert "Empty: never. In UTC." in of_key
    assert "UTC UTC" not in of_key


def test_overview_shows_what_ends_soon_and_what_changed(admin_client):
    now = timezone.now()
    make_key("soon", expires_at=now + timedelta(days=13))
    make_key("late", expires_at=now + timedelta(days=15))
    make_key("gone", expires_at=now - timedelta(days=1))
    page = text_of(admin_client.get(reverse("admin:index")))
    count, _, address = figure(page, "Keys that expire within 14 days")
    assert count == "1"
    names = {key.name for key in admin_client.get(html.unescape(address)).context["cl"].result_list}
    assert names == {"soon"}
    assert "Latest changes" in page
    assert "soon (" in page.partition("Latest changes")[2]


def test_overview_queries_do_not_grow(admin_client, django_assert_num_queries, redis_server):
    for number in range(20):
        make_turn(number, make_key(f"key {number}"))
    admin_client.get(reverse("admin:index"))
    with django_assert_num_queries(19):
        admin_client.get(reverse("admin:index"))


def test_team_with_keys_cannot_be_deleted(admin_client):
    team = Team.objects.create(name="research")
    key = make_key(team=team)
    make_turn(1, key, team=team)
    delete, change = (reverse(f"admin:accounts_team_{page}", args=[team.pk]) for page in ("delete", "change"))
    page = text_of(admin_client.get(delete))
    assert "research has 1 key. Move it to another team first." in page
    assert f"team__id__exact={team.pk}" in page
    assert f'href="{change}"' in page.partition("cannot be deleted")[2]
    chosen = {"action": "delete_selected", "_selected_action": [team.pk], "post": "yes"}
    assert "Move it to another" in text_of(admin_client.post(reverse("admin:accounts_team_changelist"), chosen))
    ApiKey.objects.filter(pk=key.pk).update(team=None)
    assert "research has usage, which stays for 400 days." in text_of(admin_client.get(delete))
    admin_client.post(delete, {"post": "yes"})
    assert Team.objects.filter(pk=team.pk).exists()
    Usage.objects.all().delete()
    admin_client.post(delete, {"post": "yes"})
    assert not Team.objects.filter(pk=team.pk).exists()


@pytest.mark.parametrize(
    "model",
    ["auth_user", "auth_group", *(f"django_celery_beat_{name}" for name in (
        "periodictask", "intervalschedule", "crontabschedule", "solarschedule", "clockedschedule"))],
)  # fmt: skip
def test_the_pages_of_others_look_like_ours(admin_client, model):
    for page in ("changelist", "add"):
        assert "unfold" in text_of(admin_client.get(reverse(f"admin:{model}_{page}")))


def test_pages_need_no_other_host(admin_client):
    make_turn(1, make_key())
    for page in (reverse("admin:index"), KEYS, ADD, USAGE):
        loaded = re.findall(r'(?:src|href)="(https?:)?//[^"]+"', text_of(admin_client.get(page)))
        assert loaded == []


@pytest.mark.parametrize(
    "address",
    [
        f"/admin/accounts/usage/?api_key__id__exact={'9' * 25}",
        f"/admin/accounts/apikey/?team__id__exact={'9' * 25}",
        f"/admin/sessions_store/entry/?api_key__id__exact={'9' * 25}",
        "/admin/accounts/usage/?started_at__gte=9999-12-31T23:59:59-12:00",
        f"/admin/accounts/apikey/{'9' * 25}/change/",
        "/api/usage/?cursor=cD05OTk5",
        f"/api/usage/?api_key={'9' * 18}",
        f"/api/keys/{'9' * 25}/",
    ],
)
def test_value_out_of_range_is_no_failure(admin_client, address):
    assert admin_client.get(address).status_code in {200, 302, 400, 404}


def test_list_answers_for_its_filters_only(admin_client):
    assert admin_client.get("/admin/accounts/apikey/?digest__startswith=a").status_code == 400
    assert admin_client.get("/admin/accounts/usage/?api_key__digest__startswith=a").status_code == 400
