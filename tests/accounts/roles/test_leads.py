import pytest
from django.core.exceptions import ValidationError
from django.db import connection
from django.test.utils import CaptureQueriesContext
from django.urls import reverse

from accounts.keys import services
from accounts.models import ApiKey
from accounts.roles import leads
from accounts.roles.groups import TEAM_LEAD, VIEWER
from tests.accounts.roles.people import user_of

pytestmark = pytest.mark.django_db

KEYS = reverse("admin:accounts_apikey_changelist")
TEAMS = reverse("admin:accounts_team_changelist")


@pytest.fixture
def lead(client, people):
    return people.client(client, "lead")


def key_page(key, page="change"):
    return reverse(f"admin:accounts_apikey_{page}", args=[key.pk])


def fields_of(client, page):
    """What the page's form would send."""
    form = client.get(page).context["adminform"].form
    return {
        name: value
        for name in form.fields
        if (value := form.get_initial_for_field(form.fields[name], name)) is not None
    }


def errors_after(client, page, **fields):
    answer = client.post(page, fields_of(client, page) | fields)
    return set() if answer.status_code == 302 else set(answer.context["adminform"].form.errors)


def test_lists_have_the_own_teams_alone(lead, people):
    text = lead.get(KEYS).content.decode()
    assert "key-team-a" in text
    assert "team-b" not in text
    assert "key-alone" not in text
    text = lead.get(TEAMS).content.decode()
    assert "team-a" in text
    assert "team-b" not in text


def test_pages_of_others_are_not_found(lead, people):
    for key in (people.key_b, people.key_of_nobody):
        for page in ("change", "history"):
            answer = lead.get(key_page(key, page))
            assert (answer.status_code, answer.headers.get("Location")) == (302, reverse("admin:index"))
        answer = lead.post(key_page(key), {"name": "mine now", "team": people.a.pk})
        assert answer.status_code == 302
    assert set(ApiKey.objects.values_list("name", "team__name")) == {
        ("key-team-a", "team-a"), ("key-team-b", "team-b"), ("key-alone", None),
    }  # fmt: skip


def test_overview_leads_to_turns_of_own_teams(lead):
    page = lead.get("/admin/").content.decode()
    assert "Turns are not shown to you" not in page
    assert f'href="{reverse("usage")}">usage pages</a>' in page


def test_actions_reach_no_key_of_others(lead, people):
    every = [people.key_a.pk, people.key_b.pk, people.key_of_nobody.pk]
    revoke = {"action": "revoke_selected", "_selected_action": every, "confirmed": "1", "select_across": "1"}
    lead.post(KEYS, revoke)
    for key in (people.key_b, people.key_of_nobody):
        lead.post(f"{KEYS}{key.pk}/revoke/", {"confirmed": "1"})
    assert set(ApiKey.objects.filter(revoked_at=None)) == {people.key_b, people.key_of_nobody}


@pytest.mark.parametrize("query", ["team__id__exact={b}", "q=team-b", "q=key-team-b", "id={key}", "team__name=team-b"])
def test_hand_made_queries_find_nothing(lead, people, query):
    answer = lead.get(f"{KEYS}?{query.format(b=people.b.pk, key=people.key_b.pk)}", follow=True)
    assert f"/{people.key_b.pk}/change/" not in answer.content.decode()


def test_suggestions_are_the_own_teams(lead, people):
    of_teams = {"app_label": "accounts", "model_name": "apikey", "field_name": "team"}
    of_keys = {"app_label": "accounts", "model_name": "usage", "field_name": "api_key"}
    names = [
        [each["text"] for each in lead.get(reverse("admin:autocomplete"), about | {"term": "team"}).json()["results"]]
        for about in (of_teams, of_keys)
    ]
    assert names == [["team-a"], [str(people.key_a)]]


def test_key_stays_within_the_own_teams(lead, people):
    page = key_page(people.key_a)
    assert errors_after(lead, page, team=people.b.pk) == {"team"}
    assert errors_after(lead, page, team="") == {"team"}
    assert errors_after(lead, page, name="renamed") == set()
    assert ApiKey.objects.get(pk=people.key_a.pk).team == people.a


def test_new_key_belongs_to_an_own_team(lead, people):
    page = reverse("admin:accounts_apikey_add")
    assert errors_after(lead, page, name="new", team="") == {"team"}
    assert errors_after(lead, page, name="new", team=people.b.pk) == {"team"}
    answer = lead.post(page, fields_of(lead, page) | {"name": "new", "team": people.a.pk})
    assert answer.status_code == 200
    assert ApiKey.objects.get(name="new").team == people.a


def team_chosen(client):
    form = client.get(reverse("admin:accounts_apikey_add")).context["adminform"].form
    return form["team"].value()


def test_lead_of_one_team_has_it_chosen(lead, people):
    assert team_chosen(lead) == people.a.pk
    people.b.members.add(people.users["lead"])
    assert team_chosen(lead) is None


def test_operators_choose_the_team_themselves(client, people):
    people.key_b.delete()
    people.b.delete()
    assert team_chosen(people.client(client, "operator")) is None


def test_limits_end_at_those_of_the_team(lead, people):
    page = key_page(people.key_a)
    assert errors_after(lead, page, rpm=101) == {"rpm"}
    assert errors_after(lead, page, rpm=100) == set()
    assert errors_after(lead, page, rpm=0, tpm=5_000_000) == set()


def test_lead_opens_nothing_that_no_team_owns(lead, people):
    assert errors_after(lead, key_page(people.key_a), scopes="metrics") == set()
    key = ApiKey.objects.get(pk=people.key_a.pk)
    assert key.scopes == ""
    key.scopes = "metrics"
    with pytest.raises(ValidationError) as failure:
        leads.check(people.users["lead"], key)
    assert set(failure.value.message_dict) == {"scopes"}


@pytest.mark.parametrize(
    ("team", "key", "fits"),
    [
        ("", "anything", True),
        ("gpt-*, claude-*", "gpt-5, claude-*", True),
        ("gpt-*", "*", False),
        ("gpt-*", "", True),
        ("gpt-*", "qwen", False),
        ("gpt-*, !gpt-5", "gpt-*", False),
        ("gpt-*, !gpt-5", "gpt-4*, !gpt-5", True),
        ("gpt-*", "!gpt-5", False),
        ("!gpt-5", "!gpt-5, !gpt-4", True),
        ("gpt-?", "gpt-*", False),
        ("gpt-??", "gpt-**", False),
        ("?", "*", False),
        ("gpt-?", "gpt-5, gpt-?", True),
        ("gpt-?*, gpt-*", "gpt-?*, gpt-5*", True),
    ],
)
def test_models_stay_within_those_of_the_team(people, team, key, fits):
    people.a.allowed_models = team
    people.a.save()
    row = ApiKey.objects.get(pk=people.key_a.pk)
    row.allowed_models = key
    assert fields_refused(people, row) == (set() if fits else {"allowed_models"})


@pytest.mark.parametrize(
    ("key", "fits"), [("10.0.0.1, 10.0.1.0/24", True), ("10.0.0.0/7", False), ("::1", False), ("", True)]
)
def test_networks_stay_within_those_of_the_team(people, key, fits):
    people.a.allowed_networks = "10.0.0.0/8"
    people.a.save()
    row = ApiKey.objects.get(pk=people.key_a.pk)
    row.allowed_networks = key
    assert fields_refused(people, row) == (set() if fits else {"allowed_networks"})


def fields_refused(people, key):
    try:
        leads.check(people.users["lead"], key)
    except ValidationError as exc:
        return set(exc.message_dict)
    return set()


def test_figure_of_live_keys_counts_the_own(lead, people):
    [panel] = [panel for panel in lead.get("/admin/").context["panels"] if panel.position == 20]
    assert {figure.name: figure.value for figure in panel.figures}["Live keys"] == "1"


def test_right_by_another_way_reaches_everything(client, people):
    both = user_of("both", TEAM_LEAD, VIEWER, teams=[people.a])
    client.force_login(both)
    assert "key-team-b" in client.get(KEYS).content.decode()
    # To look, and not to change.
    assert "rpm" in client.get(key_page(people.key_a)).context["adminform"].form.fields
    assert not client.get(key_page(people.key_b)).context["adminform"].form.fields
    assert client.post(key_page(people.key_b), {"name": "x"}).status_code == 403


def bulk(client, action, *keys, **fields):
    chosen = {"action": action, "_selected_action": [key.pk for key in keys], "confirmed": "1"}
    return client.post(KEYS, chosen | fields)


def columns_of(key, *names):
    return ApiKey.objects.values_list(*names).get(pk=key.pk)


@pytest.mark.parametrize("what", ["rotate", "pause", "resume", "revoke"])
def test_buttons_reach_no_key_of_others(lead, people, what):
    for key in (people.key_b, people.key_of_nobody):
        before = columns_of(key, "digest", "paused_at", "revoked_at")
        for sent in ({}, {"confirmed": "1", "grace": "0", "hint": key.hint}):
            lead.post(f"{KEYS}{key.pk}/{what}/", sent)
        assert columns_of(key, "digest", "paused_at", "revoked_at") == before


@pytest.mark.parametrize(
    ("action", "fields"),
    [
        ("pause_selected", {"reason": "x"}), ("move_selected", {}), ("limit_selected", {"rpm": 7}),
        ("extend_selected", {"days": 3}), ("revoke_selected", {}),
    ],
)  # fmt: skip
def test_bulk_changes_reach_no_key_of_others(lead, people, action, fields):
    others = (people.key_b, people.key_of_nobody)
    ApiKey.objects.update(expires_at="2040-01-01T00:00:00Z")
    before = [columns_of(key, "team", "rpm", "expires_at", "paused_at", "revoked_at") for key in others]
    bulk(lead, action, *others, team=people.a.pk, **fields)
    assert [columns_of(key, "team", "rpm", "expires_at", "paused_at", "revoked_at") for key in others] == before


def test_bulk_changes_stay_within_the_team(lead, people):
    bulk(lead, "move_selected", people.key_a, team=people.b.pk)
    bulk(lead, "move_selected", people.key_a, team="")
    bulk(lead, "limit_selected", people.key_a, rpm=101)
    assert columns_of(people.key_a, "team", "rpm") == (people.a.pk, 0)
    bulk(lead, "limit_selected", people.key_a, rpm=100)
    assert columns_of(people.key_a, "team", "rpm") == (people.a.pk, 100)


def test_look_up_of_a_secret_finds_own_keys(lead, people):
    secrets = [services.create(ApiKey(name=f"found-{team.name}", team=team)) for team in (people.a, people.b)]
    page = lead.post(reverse("admin:accounts_apikey_whose"), {"text": " ".join(secrets)}).content.decode()
    assert "found-team-a" in page
    assert "found-team-b" not in page


def test_page_of_the_team_names_no_other(lead, people):
    page = lead.get(reverse("admin:accounts_team_change", args=[people.a.pk])).content.decode()
    assert "team-b" not in page
    assert lead.get(reverse("admin:accounts_team_change", args=[people.b.pk])).status_code == 302


@pytest.mark.parametrize("page", ["/admin/", KEYS, TEAMS])
def test_pages_ask_once_what_a_lead_may(lead, page):
    with CaptureQueriesContext(connection) as found:
        assert lead.get(page).status_code == 200
    # Django's two, of the user and of the groups; whether they are a lead, and what they have by another way.
    assert sum('"auth_group' in each["sql"] or '"auth_permission' in each["sql"] for each in found) == 4
    # What they reach and whose usage they see go by the same teams.
    assert sum('FROM "accounts_team" INNER JOIN "accounts_team_members"' in each["sql"] for each in found) == 1


def test_right_that_is_taken_ends_at_once(lead, people):
    assert "key-team-a" in lead.get(KEYS).content.decode()
    people.a.members.remove(people.users["lead"])
    assert "key-team-a" not in lead.get(KEYS).content.decode()
    people.users["lead"].groups.clear()
    assert lead.get(KEYS).status_code == 403
