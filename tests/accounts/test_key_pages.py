"""What operators do with keys and teams in the console."""

import html
import logging
import re
from datetime import UTC, datetime, timedelta

import pytest
from django.contrib.admin.models import LogEntry
from django.contrib.auth.models import User
from django.urls import reverse
from django.utils import timezone

from accounts.keys import playground, services
from accounts.models import ApiKey, AuditEntry, Team
from gateway_project.lib.secrets.key_secret import digest_of, is_generated
from tests.accounts.roles.people import user_of

KEYS = reverse("admin:accounts_apikey_changelist")
ADD = reverse("admin:accounts_apikey_add")
WHOSE = reverse("admin:accounts_apikey_whose")

pytestmark = pytest.mark.django_db


def made(name="alice", **fields):
    key = ApiKey(name=name, **fields)
    return key, services.create(key)


def page_of(key, what="change"):
    return reverse(f"admin:accounts_apikey_{what}", args=[key.pk])


def text_of(response):
    """Without the breaks that templates leave."""
    return re.sub(r"\s+", " ", html.unescape(response.content.decode()))


def secrets_in(response):
    return set(re.findall(r"lgw_\w{8}_\w{38}", text_of(response)))


def buttons(client, key):
    """The actions that the page of a key offers."""
    found = re.findall(rf"/apikey/{key.pk}/(rotate|pause|quarantine|resume|revoke)/", text_of(client.get(page_of(key))))
    return set(found)


# -- the form -------------------------------------------------------------------------------------------------------


def test_every_part_of_a_policy_can_be_set(admin_client):
    fields = {
        "name": "ci", "allowed_models": " claude-*, !claude-opus-* ,", "allowed_networks": "10.0.0.0/8,,::1",
        "scopes": ["metrics"], "tool_mode": "bridge", "tool_approval": "allow:list_dir", "rpm": "60",
        "requests_day": "1000", "tokens_month": "9000000000", "shadow": ["rpm", "tokens_month"],
        "expires_after_days": "30",
    }  # fmt: skip
    assert secrets_in(admin_client.post(ADD, fields))
    key = ApiKey.objects.get()
    assert (key.allowed_models, key.allowed_networks) == ("claude-*, !claude-opus-*", "10.0.0.0/8, ::1")
    assert (key.scopes, key.shadow) == ("metrics", "rpm, tokens_month")
    assert (key.tool_mode, key.tool_approval) == ("bridge", "allow:list_dir")
    assert (key.rpm, key.tpm, key.requests_day, key.tokens_month) == (60, 0, 1000, 9_000_000_000)
    assert key.expires_after_days == 30
    page = text_of(admin_client.get(page_of(key)))
    assert re.search(r'<input[^>]*name="shadow"[^>]*value="rpm"[^>]* checked[ >]', page)
    assert not re.search(r'<input[^>]*name="shadow"[^>]*value="tpm"[^>]* checked[ >]', page)


@pytest.mark.parametrize(
    ("field", "value", "words"),
    [
        ("allowed_networks", "home", "home is no address and no network."),
        ("allowed_models", "!", "A name or pattern is missing behind the !."),
        ("tool_approval", "allow everything", "Write deny, allow, or allow: and the names of tools."),
        ("scopes", "everything", "There is no scope everything."),
        ("shadow", "speed", "speed"),
        ("name", "a\u202eb", "A name is of visible characters."),
        ("rpm", "-1", "greater than or equal to 0"),
        ("expires_at_0", "9999-12-31", "is too far away"),
        ("expires_after_days", "2000000000", "At most 36500 days."),
        ("tpm", "2147483648", "less than or equal to 2147483647"),
    ],
)
def test_mistake_is_named_at_its_field(admin_client, field, value, words):
    times = {"expires_at_1": "23:59:59"} if field == "expires_at_0" else {}
    assert words in text_of(admin_client.post(ADD, {"name": "ci", field: value} | times))
    assert not ApiKey.objects.exists()


@pytest.mark.parametrize("zone", ["Asia/Shanghai", "America/New_York"])
def test_end_of_the_calendar_can_be_shown(admin_client, zone):
    """Stored before such ends were refused."""
    key, _ = made()
    ApiKey.objects.update(expires_at=datetime(9999, 12, 31, 23, tzinfo=UTC))
    with timezone.override(zone):
        for path in (KEYS, page_of(key), "/api/keys/", f"/api/keys/{key.pk}/"):
            assert admin_client.get(path).status_code == 200, path
        assert "It expires on" in text_of(admin_client.get(page_of(key)))


def test_edit_leaves_what_changed_meanwhile(admin_client):
    key, _ = made()
    page = admin_client.get(page_of(key))
    fields = {name: value for name, value in page.context["adminform"].form.initial.items() if value is not None}
    services.rotate(key, timedelta(hours=1))
    services.pause(key, "leaked")
    admin_client.post(page_of(key), fields | {"rpm": 7, "scopes": "", "shadow": ""})
    after = ApiKey.objects.get()
    assert (after.rpm, after.digest, after.pause_reason) == (7, key.digest, "leaked")


# -- how a key stands -----------------------------------------------------------------------------------------------


def test_page_says_how_the_key_stands(admin_client):
    key, _ = made(expires_after_days=7)
    assert "This key is live. It expires 7 days after its first use" in text_of(admin_client.get(page_of(key)))
    ApiKey.objects.all().mark_first_used({key.pk: timezone.now()})
    assert "It expires on" in text_of(admin_client.get(page_of(key)))
    services.rotate(key, timedelta(hours=1))
    assert re.search(
        "the older one works until [^,]+, for (1 hour|59 minutes) more", text_of(admin_client.get(page_of(key)))
    )
    services.pause(key, "seen in a repository")
    assert "Reason: seen in a repository." in text_of(admin_client.get(page_of(key)))
    services.revoke(key)
    assert "it opens nothing any more" in text_of(admin_client.get(page_of(key)))
    assert f"/usage/?key={key.pk}&range=30d" in text_of(admin_client.get(page_of(key)))


def test_playground_keys_come_last_and_uncounted(admin_client):
    user = user_of("ada")
    made("alice")
    playground.begin(user, None)
    page = text_of(admin_client.get(KEYS))
    assert 0 < page.index("alice") < page.index("playground: ada")
    assert "playground: ada" not in text_of(admin_client.get(KEYS, {"state": "live"}))
    found = text_of(admin_client.get(KEYS, {"state": "playground"}))
    assert ("playground: ada" in found, "alice" in found) == (True, False)
    assert ApiKey.objects.live(timezone.now()).count() == 1


def test_new_key_leads_to_its_page(admin_client):
    page = text_of(admin_client.post(reverse("admin:accounts_apikey_add"), {"name": "alice"}))
    address = reverse("admin:accounts_apikey_change", args=[ApiKey.objects.get().pk])
    assert re.search(rf'href="{address}"[^>]*>\s*I have copied it', page)


def test_page_offers_what_makes_sense(admin_client):
    key, _ = made()
    assert buttons(admin_client, key) == {"rotate", "pause", "quarantine", "revoke"}
    services.pause(key)
    assert buttons(admin_client, key) == {"rotate", "quarantine", "resume", "revoke"}
    services.quarantine(key)
    assert buttons(admin_client, key) == {"rotate", "resume", "revoke"}
    assert "/revoke/" in text_of(admin_client.get(KEYS))
    services.revoke(key)
    assert buttons(admin_client, key) == set()
    assert "/revoke/" not in text_of(admin_client.get(KEYS))


@pytest.mark.parametrize(("state", "name"), [("live", "fresh"), ("paused", "held"), ("quarantined", "leaked")])
def test_stopped_keys_have_states_of_their_own(admin_client, state, name):
    made("fresh")
    for key in ("held", "leaked"):
        services.pause(made(key)[0])
    services.quarantine(ApiKey.objects.get(name="leaked"))
    listed = admin_client.get(KEYS, {"state": state}).context["cl"].result_list
    assert [key.name for key in listed] == [name]


# -- rotate, pause, resume ------------------------------------------------------------------------------------------


@pytest.mark.parametrize(("grace", "hours"), [("0", 0), ("1", 1), ("24", 24), ("168", 168)])
def test_rotation_shows_the_new_secret_once(admin_client, settings, grace, hours, caplog):
    key, old = made()
    assert not secrets_in(admin_client.get(page_of(key, "rotate_one")))
    with caplog.at_level(logging.DEBUG):
        page = admin_client.post(page_of(key, "rotate_one"), {"grace": grace, "hint": key.hint})
    (secret,) = secrets_in(page)
    assert is_generated(secret)
    assert "no-store" in page["Cache-Control"]
    after = ApiKey.objects.get()
    assert after.digest == digest_of(secret, settings.KEY_PEPPER)
    assert after.previous_digest == digest_of(old, settings.KEY_PEPPER)
    assert abs(after.previous_until - timezone.now() - timedelta(hours=hours)) < timedelta(minutes=1)
    assert AuditEntry.objects.filter(action="rotated").count() == 1
    stored = caplog.text + repr(LogEntry.objects.values()) + repr(AuditEntry.objects.values())
    assert secret[13:] not in stored + text_of(admin_client.get(KEYS)) + text_of(admin_client.get(page_of(key)))


def test_rotation_sent_twice_makes_one_secret(admin_client):
    key, _ = made()
    form = {"grace": "1", "hint": key.hint}
    assert secrets_in(admin_client.post(page_of(key, "rotate_one"), form))
    digest = ApiKey.objects.get().digest
    again = admin_client.post(page_of(key, "rotate_one"), form, follow=True)
    assert "has a new secret already" in text_of(again)
    assert ApiKey.objects.get().digest == digest


def test_unknown_grace_rotates_nothing(admin_client):
    key, _ = made()
    assert not secrets_in(admin_client.post(page_of(key, "rotate_one"), {"grace": "5000", "hint": key.hint}))
    assert ApiKey.objects.get().previous_digest is None


def test_pause_and_resume_ask_first(admin_client):
    key, _ = made()
    assert "Pause this key?" in text_of(admin_client.get(page_of(key, "pause_one")))
    assert ApiKey.objects.get().paused_at is None
    answer = admin_client.post(page_of(key, "pause_one"), {"confirmed": "yes", "reason": "on leave"})
    assert answer.url == page_of(key)
    assert (ApiKey.objects.get().state(timezone.now()), ApiKey.objects.get().pause_reason) == ("paused", "on leave")
    admin_client.post(page_of(key, "resume_one"), {"confirmed": "yes"})
    assert (ApiKey.objects.get().state(timezone.now()), ApiKey.objects.get().pause_reason) == ("live", "")
    assert list(AuditEntry.objects.order_by("id").values_list("action", flat=True))[-2:] == ["paused", "resumed"]


def test_quarantine_needs_a_reason(admin_client):
    key, _ = made()
    address = page_of(key, "quarantine_one")
    assert "Put this key in quarantine?" in text_of(admin_client.get(address))
    admin_client.post(address, {"confirmed": "yes", "reason": ""})
    assert ApiKey.objects.get().quarantined_at is None
    page = admin_client.post(address, {"confirmed": "yes", "reason": "in a repository"}, follow=True)
    assert "In quarantine since" in text_of(page)
    assert "Reason: in a repository." in text_of(page)
    admin_client.post(page_of(key, "resume_one"), {"confirmed": "yes"})
    assert ApiKey.objects.get().state(timezone.now()) == "live"


@pytest.mark.parametrize("what", ["rotate_one", "pause_one", "quarantine_one", "resume_one", "revoke_one"])
def test_action_on_no_such_key_is_no_failure(admin_client, what):
    for number in (10**6, 10**25, "abc", "1\0"):
        address = reverse(f"admin:accounts_apikey_{what}", args=[number])
        assert admin_client.post(address, {"confirmed": "yes"}).status_code in {302, 404}


@pytest.mark.parametrize("page", ["apikey_add", "team_add"])
def test_team_without_a_number_is_none(admin_client, page):
    address = reverse(f"admin:accounts_{page}")
    assert admin_client.get(address, {"team": "abc", "members": "abc"}).status_code == 200
    answer = admin_client.post(address, {"name": "a", "team": "abc", "members": ["abc"]})
    assert answer.context["adminform"].form.errors.keys() == {"team" if page == "apikey_add" else "members"}


# -- many at once ---------------------------------------------------------------------------------------------------


def do(client, action, keys, **fields):
    chosen = {"action": action, "_selected_action": [key.pk for key in keys]}
    asked = text_of(client.post(KEYS, chosen))
    return asked, client.post(KEYS, chosen | {"confirmed": "yes"} | fields, follow=True)


def test_keys_are_paused_and_resumed_together(admin_client):
    keys = [made(name)[0] for name in "abc"]
    asked, _ = do(admin_client, "pause_selected", keys[:2], reason="leaked")
    assert "Pause 2 keys?" in asked
    assert ApiKey.objects.filter(pause_reason="leaked").exclude(paused_at=None).count() == 2
    asked, _ = do(admin_client, "resume_selected", keys)
    assert "Resume 2 keys?" in asked
    assert not ApiKey.objects.exclude(paused_at=None).exists()


def test_keys_move_to_a_team_together(admin_client):
    team = Team.objects.create(name="core")
    keys = [made(name)[0] for name in "ab"]
    do(admin_client, "move_selected", keys, team=team.pk)
    assert ApiKey.objects.filter(team=team).count() == 2
    assert AuditEntry.objects.filter(action="changed", object_type="accounts.apikey").count() == 2
    do(admin_client, "move_selected", keys[:1], team="")
    assert ApiKey.objects.filter(team=None).count() == 1


def test_live_keys_of_a_team_differ_in_name(admin_client):
    core, web = (Team.objects.create(name=name) for name in ("core", "web"))
    keys = [made("ci", team=team)[0] for team in (core, web)]
    alone, _ = made("ci")
    _, refused = do(admin_client, "move_selected", keys, team="")
    assert "Two live keys of this team would have the name ci." in text_of(refused)
    page = admin_client.post(page_of(keys[0]), {"name": "ci", "team": web.pk})
    assert page.context["adminform"].form.errors == {"name": ["A live key of this team has this name already."]}
    services.revoke(alone)
    do(admin_client, "move_selected", keys[:1], team="")
    assert ApiKey.objects.get(pk=keys[0].pk).team is None


def test_name_that_another_team_has_is_free(client):
    own, other = (Team.objects.create(name=name) for name in ("own", "other"))
    made("ci", team=other)
    client.force_login(user_of("lead", "Team lead", teams=[own]))
    assert secrets_in(client.post(ADD, {"name": "ci", "team": own.pk}))
    again = client.post(ADD, {"name": "ci", "team": own.pk})
    assert again.context["adminform"].form.errors == {"name": ["A live key of this team has this name already."]}


def test_limits_are_set_together(admin_client):
    keys = [made(name, tpm=5, rpm=1)[0] for name in "ab"]
    _, answer = do(admin_client, "limit_selected", keys)
    assert "Fill in at least one limit" in text_of(answer)
    do(admin_client, "limit_selected", keys, rpm=60, tokens_day=0, tokens_month=10**12)
    assert set(ApiKey.objects.values_list("rpm", "tpm", "tokens_month")) == {(60, 5, 10**12)}


def test_limits_set_together_fit_their_columns(admin_client):
    key, _ = made()
    _, answer = do(admin_client, "limit_selected", [key], tpm=2**31, tokens_day=10**12)
    assert answer.context["form"].errors.keys() == {"tpm"}
    assert ApiKey.objects.get().tokens_day == 0


def test_keys_are_extended_from_their_end_or_now(admin_client):
    now = timezone.now()
    soon, _ = made("soon", expires_at=now + timedelta(days=2))
    late, _ = made("late", expires_at=now - timedelta(days=9))
    never, _ = made("never")
    asked, _ = do(admin_client, "extend_selected", [soon, late, never], days=10)
    assert "Extend 2 keys?" in asked
    ends = {
        key.name: key.expires_at and (key.expires_at - now).total_seconds() / 86_400 for key in ApiKey.objects.all()
    }
    assert ends["never"] is None
    assert (round(ends["soon"]), round(ends["late"])) == (12, 10)


def test_selection_of_too_many_keys_is_refused(admin_client, monkeypatch):
    monkeypatch.setattr("accounts.admin.key_actions.MOST", 2)
    keys = [made(name)[0] for name in "abc"]
    page = admin_client.post(KEYS, {"action": "pause_selected", "_selected_action": [k.pk for k in keys]}, follow=True)
    assert "At most 2 keys at once." in text_of(page)
    assert not ApiKey.objects.exclude(paused_at=None).exists()


@pytest.mark.parametrize("action", ["pause_selected", "move_selected", "limit_selected", "extend_selected"])
def test_revoked_keys_are_left_alone(admin_client, action):
    key, _ = made(expires_at=timezone.now() + timedelta(days=1))
    services.revoke(key)
    before = ApiKey.objects.values().get()
    do(admin_client, action, [key], rpm=1, days=1, reason="x")
    assert ApiKey.objects.values().get() == before


def test_team_lead_does_nothing_to_other_keys(client):
    own, other = (Team.objects.create(name=name, rpm=100) for name in ("own", "other"))
    mine, _ = made("mine", team=own)
    theirs, old = made("theirs", team=other)
    client.force_login(user_of("lead", "Team lead", teams=[own]))
    do(client, "pause_selected", [mine, theirs], reason="x")
    _, refused = do(client, "move_selected", [mine], team=other.pk)
    assert "Select a valid choice" in text_of(refused)
    _, refused = do(client, "limit_selected", [mine], rpm=101)
    assert "The team has 100." in text_of(refused)
    for what in ("rotate_one", "pause_one", "resume_one", "revoke_one"):
        client.post(page_of(theirs, what), {"confirmed": "yes", "grace": "0", "hint": theirs.hint})
    mine.refresh_from_db()
    theirs.refresh_from_db()
    assert (mine.state(timezone.now()), mine.team, mine.rpm) == ("paused", own, 0)
    assert (theirs.state(timezone.now()), theirs.previous_digest) == ("live", None)
    assert "theirs" not in text_of(client.post(WHOSE, {"text": old}))


def test_lead_lifts_a_pause_but_no_quarantine(client):
    own = Team.objects.create(name="own")
    (paused, _), (held, _) = made("paused", team=own), made("held", team=own)
    services.pause(paused, "by an operator")
    services.quarantine(held, "leaked")
    client.force_login(user_of("lead", "Team lead", teams=[own]))
    assert buttons(client, held) == {"rotate", "pause", "revoke"}
    assert "Reason: leaked." in text_of(client.get(page_of(held)))
    for _ in range(2):
        client.post(page_of(paused, "resume_one"), {"confirmed": "yes"})
        refused = client.post(page_of(held, "resume_one"), {"confirmed": "yes"}, follow=True)
    assert f"{held}: in quarantine, which only an operator can lift." in text_of(refused)
    refused = client.post(page_of(paused, "quarantine_one"), {"confirmed": "yes", "reason": "x"}, follow=True)
    assert "Only operators put keys in quarantine." in text_of(refused)
    do(client, "quarantine_selected", [paused], reason="x")
    do(client, "resume_selected", [paused, held])
    states = {key.name: key.state(timezone.now()) for key in ApiKey.objects.all()}
    assert states == {"paused": "live", "held": "quarantined"}


# -- whose key is this ----------------------------------------------------------------------------------------------


def test_owner_is_found_by_digest(admin_client, caplog):
    key, old = made("alice", team=Team.objects.create(name="core"))
    assert "whose" in text_of(admin_client.get(KEYS))
    with caplog.at_level(logging.DEBUG):
        page = admin_client.post(WHOSE, {"text": f"export KEY={old}"})
    assert f"/apikey/{key.pk}/change/" in text_of(page)
    assert "This key is live." in text_of(page)
    assert old[13:] not in text_of(page) + caplog.text
    assert "no-store" in page["Cache-Control"]
    services.rotate(key, timedelta(0))
    assert "an older secret" in text_of(admin_client.post(WHOSE, {"text": old}))
    services.revoke(key)
    assert "Revoked on" in text_of(admin_client.post(WHOSE, {"text": old}))


def test_address_answers_nothing_about_keys(admin_client):
    key, secret = made()
    assert f"/apikey/{key.pk}/change/" not in text_of(admin_client.get(WHOSE, {"text": secret}))


def test_unknown_or_too_long_text_finds_nothing(admin_client):
    assert "No key that you may see" in text_of(admin_client.post(WHOSE, {"text": "lgw_nothing"}))
    assert "at most 100000 characters" in text_of(admin_client.post(WHOSE, {"text": "x" * 100_001}))


def test_search_is_for_those_who_see_keys(client):
    client.force_login(User.objects.create_user("staff", is_staff=True))
    assert client.post(WHOSE, {"text": "x"}).status_code == 403


# -- teams ----------------------------------------------------------------------------------------------------------


def test_team_page_has_members_keys_and_usage(admin_client, django_assert_max_num_queries):
    team = Team.objects.create(name="core")
    team.members.add(User.objects.create_user("ada"))
    for number in range(12):
        made(f"key {number}", team=team)
    made("elsewhere")
    page = reverse("admin:accounts_team_change", args=[team.pk])
    with django_assert_max_num_queries(16):
        text = text_of(admin_client.get(page))
    assert "ada" in text
    assert "key 11" in text
    assert "elsewhere" not in text
    assert f"/usage/?team={team.pk}&range=30d" in text
    assert f"/usage/?key={ApiKey.objects.get(name='key 3').pk}&range=30d" in text


def test_policy_of_a_team_can_be_set(admin_client):
    user = User.objects.create_user("ada")
    fields = {"name": "core", "members": [user.pk], "time_zone": "Asia/Shanghai", "rpm": 100, "shadow": ["rpm"]}
    assert admin_client.post(reverse("admin:accounts_team_add"), fields).status_code == 302
    team = Team.objects.get()
    assert (team.rpm, team.tokens_day, team.shadow, team.time_zone) == (100, 0, "rpm", "Asia/Shanghai")
    assert list(team.members.all()) == [user]


def test_operator_without_right_to_users_chooses_members(client):
    ada = User.objects.create_user("ada")
    client.force_login(user_of("operator", "Operator"))
    assert "ada" in text_of(client.get(reverse("admin:accounts_team_add")))
    client.post(reverse("admin:accounts_team_add"), {"name": "core", "members": [ada.pk]})
    assert list(Team.objects.get().members.all()) == [ada]


def test_long_names_keep_to_their_column(admin_client):
    name = "x" * 100
    made(name, team=Team.objects.create(name=name))
    for page in (KEYS, reverse("admin:accounts_team_changelist")):
        assert len(re.findall(r'class="gw-cut" title="x{100}"', text_of(admin_client.get(page)))) >= 1


def test_list_says_when_days_begin(admin_client):
    made(expires_after_days=30)
    assert "30 days from first use" in text_of(admin_client.get(KEYS))


def test_key_page_has_setups_without_the_secret(admin_client):
    key, _ = made(allowed_models="qwen-max")
    page = text_of(admin_client.get(reverse("admin:accounts_apikey_change", args=[key.pk])))
    setups = page.partition('id="setups"')[2]
    assert 'href="#setups"' in page
    assert "YOUR_API_KEY" in setups
    assert "qwen-max" in setups
    assert setups.count("data-copy=") >= 8
    assert "accounts/copy" in page
    ApiKey.objects.update(revoked_at=timezone.now())
    assert "YOUR_API_KEY" not in text_of(admin_client.get(reverse("admin:accounts_apikey_change", args=[key.pk])))


def test_key_revoked_while_edited_says_so(admin_client):
    key, _ = made()
    services.revoke(key)
    shown = text_of(admin_client.post(page_of(key), {"name": "bob"}, follow=True))
    assert "The key is revoked." in shown
    assert ApiKey.objects.get().name == "alice"


def test_links_to_usage_are_for_its_readers(client):
    team = Team.objects.create(name="core")
    key, _ = made(team=team)
    pages = [page_of(key), reverse("admin:accounts_team_change", args=[team.pk])]
    for permissions, offered in (
        (["view_apikey", "view_team"], False),
        (["view_usage", "view_apikey", "view_team"], True),
    ):
        client.force_login(user_of(f"colleague {offered}", permissions=permissions))
        assert [f'href="{reverse("usage")}?' in client.get(page).content.decode() for page in pages] == [offered] * 2
    assert "This key is live." in text_of(client.get(pages[0]))
