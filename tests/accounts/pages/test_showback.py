import csv
import io
import json
import re
from datetime import UTC, datetime, timedelta

import pytest
from django.contrib.auth.models import User
from django.core.management import call_command
from django.utils import timezone

from accounts.apps import accounts_config
from accounts.models import ApiKey, Team
from accounts.reports.filters import Filters
from accounts.reports.period import Span
from accounts.reports.showback import last_day, month_of, months, showback
from accounts.reports.visibility import Visibility
from accounts.reports.words import short
from tests.accounts.pages.reading import Page
from tests.accounts.reports.sample import forget, make, sums_of

pytestmark = pytest.mark.django_db
EVER = "from=2020-01-01&to=2050-01-01"
SUMS = ("turns", "failed", "refused", "prompt_tokens", "completion_tokens", "estimated_turns", "busy_ms")


@pytest.fixture(scope="module")
def now():
    return timezone.now().replace(microsecond=0) - timedelta(seconds=5)


@pytest.fixture(scope="module")
def sample(shared_rows, now):
    return make(now)


@pytest.fixture
def operator(client):
    client.force_login(User.objects.create_superuser("operator"))
    return client


@pytest.fixture
def lead(client, sample):
    """Of the team Ads."""
    user = User.objects.create_user("lead")
    user.teams.add(Team.objects.get(name="Ads"))
    client.force_login(user)
    return client


@pytest.fixture
def four_places(monkeypatch):
    monkeypatch.setattr(accounts_config(), "places", lambda: 4)


def rows_of(client, query):
    return json.loads(client.get(f"/usage/showback/export.json?{query}").content)


def test_lines_have_the_sums_of_the_seed(operator, tmp_path):
    forget()
    call_command("seed_demo", rows=1_000, seed=5, expected=tmp_path / "sums.json", verbosity=0)
    expected = json.loads((tmp_path / "sums.json").read_text())
    teams = {row["team"] or "": row for row in rows_of(operator, EVER)["rows"]}
    assert set(teams) >= set(expected["by"]["team"])
    for name, row in teams.items():
        of_team = expected["by"]["team"].get(name, dict.fromkeys(SUMS, 0))
        assert {each: row[each] for each in SUMS} == {each: of_team[each] for each in SUMS}
    keys = {row["key"]: row for row in rows_of(operator, f"{EVER}&by=key")["rows"]}
    for name, of_key in expected["by"]["key"].items():
        assert {each: keys[name][each] for each in SUMS} == {each: of_key[each] for each in SUMS}
    assert sum(row["share_of_used"] for row in teams.values()) == pytest.approx(1, abs=0.001)


@pytest.mark.parametrize("query", ["", "range=7d", "range=7d&team=Ads", "range=7d&client_app=codex&by=key"])
def test_sum_is_that_of_the_usage_page(operator, sample, query):
    response = operator.get(f"/usage/showback/?{query}")
    page = Page(response)
    usage = next(href for words, href in page.links if words == "Usage of this time")
    whole = page.tables["showback-title"][-1]
    assert whole[-3] == Page(operator.get(usage)).figures["Turns"]
    lines = page.body("showback-title")[:-1]
    assert sum(int(line[-3].replace(",", "")) for line in lines) == int(whole[-3].replace(",", ""))


def test_every_line_leads_to_its_turns(operator, sample):
    page = Page(operator.get("/usage/showback/?range=7d&by=key"))
    lines = {}
    for words, href in page.links:
        if href.startswith("/usage/?from="):
            lines.setdefault(href, []).append(words)
    # Busy, two shares, turns, and tokens in and out; the heading leads to the same rows as the sum.
    numbers = {href: words[-6:] for href, words in lines.items()}
    assert len(numbers) == 8
    for href, (*_, turns, tokens_in, _) in numbers.items():
        whole = Page(operator.get(href))
        assert whole.figures["Turns"] == turns
        if not tokens_in.startswith("≈"):
            assert whole.figures["Tokens in / out"].split(" /")[0] == short(int(tokens_in.replace(",", "")))


def test_rows_without_team_and_idle_teams_are_listed(operator, sample, four_places):
    Team.objects.create(name="Quiet")
    lines = {row[0]: row for row in Page(operator.get("/usage/showback/?range=7d")).body("showback-title")[:-1]}
    assert set(lines) == {"Ads", "Search", "Maps", "no team", "Quiet"}
    assert lines["Quiet"][1:5] == ["0", "0.00 %", "0.0 %", "0"]


def test_share_of_pool_is_of_places_and_time(sample, now, four_places):
    filters = Filters(now=now, zone=UTC, span=Span(now - timedelta(hours=2), now + timedelta(hours=5)))
    found = showback(filters, Visibility(everything=True), by_key=False)
    assert found.pool_ms == 4 * 2 * 3_600_000
    assert found.used_ms == sum(line.sums.busy_ms for line in found.lines) == found.whole.busy_ms


def test_unknown_pool_is_a_dash(operator, sample):
    assert rows_of(operator, "range=7d")["rows"][0]["share_of_pool"] is None
    page = Page(operator.get("/usage/showback/?range=7d"))
    assert {row[2] for row in page.body("showback-title")} == {"–"}


def test_all_lines_are_there_page_by_page(operator, sample):
    Team.objects.bulk_create(Team(name=f"team {number:03}") for number in range(120))
    seen, href = [], "/usage/showback/?range=7d"
    while href:
        response = operator.get(href)
        seen += [row["team"] for row in response.context["rows"]]
        href = response.context["next_href"]
    assert len(seen) == len(set(seen)) == 124
    assert "others" not in seen
    assert len(rows_of(operator, "range=7d")["rows"]) == 124


def test_csv_is_read_as_numbers(operator, sample):
    Team.objects.filter(name="Ads").update(name="=1+1")
    told = operator.get("/usage/showback/export.csv?range=7d").content.decode()
    rows = {row["team"]: row for row in csv.DictReader(io.StringIO(told))}
    own = [row for row in sample if row.team_id == Team.objects.get(name="=1+1").pk]
    assert int(rows["'=1+1"]["turns"]) == sums_of(own)["turns"]
    assert int(rows["'=1+1"]["busy_ms"]) == sums_of(own)["busy_ms"]
    assert operator.get("/usage/showback/export.csv?range=odd").status_code == 400


@pytest.mark.parametrize("by", ["team", "key"])
def test_csv_of_nothing_has_its_header(operator, sample, by):
    some, none = (
        operator.get(f"/usage/showback/export.csv?range=7d&by={by}{more}").content.decode().splitlines()
        for more in ("", "&reason=nobody")
    )
    assert (none, len(some) > 1) == (some[:1], True)


@pytest.mark.parametrize(
    ("query", "named"),
    [
        ("teams=5", "teams"), ("month=2026-1", "month"), ("month=x", "month"), ("by=Key", "by: Key"),
        ("month=2026-10&from=2026-11-01", "month"), ("month=2026-10&range=7d", "month"),
    ],
)  # fmt: skip
def test_misspelt_filter_is_no_bill_of_everybody(operator, sample, query, named):
    refused = operator.get(f"/usage/showback/export.csv?{query}")
    assert (refused.status_code, named in refused.json()["detail"]) == (400, True)


def test_own_times_are_shown_as_they_were_sent(operator, sample):
    team = Team.objects.get(name="Ads")
    Team.objects.filter(pk=team.pk).update(time_zone="Asia/Shanghai")
    sent = f"/usage/showback/?team={team.pk}&from=2026-11-01T00:00:00&to=2026-11-02T00:00:00"
    page = operator.get(sent).content.decode()
    assert page.count("(Asia/Shanghai)") == 2
    assert re.findall(r'name="(?:from|to)" value="(.*?)"', page) == ["2026-11-01T00:00:00", "2026-11-02T00:00:00"]


def test_form_of_times_keeps_every_filter(operator, sample):
    sent = [("client_app", "!codex"), ("status", "ok"), ("status", "error"), ("outcome", "failed"), ("by", "key")]
    page = operator.get("/usage/showback/", [*sent, ("from", "2026-11-01")]).content.decode()
    form = page.partition('<form action="/usage/showback/"')[2].partition("</form>")[0]
    assert re.findall(r'<input type="hidden" name="(.*?)" value="(.*?)"', form) == sent


HAND_MADE = [
    "",
    "by=key",
    "team=Maps",
    "team=none",
    "team=Maps&by=key",
    "key=caller+5&by=key",
    "page=2",
    "range=7d&status=ok",
]


@pytest.mark.parametrize("query", HAND_MADE)
def test_lead_sees_own_team_and_shares_alone(lead, sample, query, four_places):
    maps = Team.objects.get(name="Maps")
    Team.objects.filter(pk=maps.pk).update(time_zone="Asia/Kolkata")
    for asked in {query, query.replace("team=Maps", f"team={maps.pk}")}:
        wide = f"range=7d&{asked}" if "range" not in asked else asked
        for address in {asked, wide}:
            page = lead.get(f"/usage/showback/?{address}")
            assert {row["team"] for row in page.context["rows"]} <= {"Ads"}
            assert "Kolkata" not in page.content.decode()
            assert {row["key"] for row in page.context["rows"]} <= {"", "caller 0", "caller 1"}
            told = lead.get(f"/usage/showback/export.json?{address}").content.decode()
            assert {row["team"] for row in json.loads(told)["rows"]} <= {"Ads"}
            assert "Maps" not in told
            assert "Maps" not in lead.get(f"/usage/showback/export.csv?{address}").content.decode()


def test_lead_sees_the_same_shares_as_operators(lead, client, sample, four_places):
    own = rows_of(lead, "range=7d")["rows"][0]
    client.force_login(User.objects.create_superuser("operator"))
    theirs = {row["team"]: row for row in rows_of(client, "range=7d")["rows"]}["Ads"]
    assert own["share_of_used"] == pytest.approx(theirs["share_of_used"], abs=0.001)
    assert 0 < own["share_of_used"] < 1


def test_showback_is_closed_to_everybody_else(client):
    assert client.get("/usage/showback/").url.startswith("/login/")
    client.force_login(User.objects.create_user("nobody"))
    for path in ("/usage/showback/", "/usage/showback/export.csv", "/usage/showback/export.json"):
        assert client.get(path).status_code == 403


def test_month_is_that_of_the_team(operator, sample):
    team = Team.objects.get(name="Ads")
    Team.objects.filter(pk=team.pk).update(time_zone="Asia/Shanghai")
    document = rows_of(operator, f"month=2026-02&team={team.pk}")
    assert (document["from"], document["to"], document["time_zone"]) == (
        "2026-01-31T16:00:00Z", "2026-02-28T16:00:00Z", "Asia/Shanghai",
    )  # fmt: skip
    assert rows_of(operator, "month=2026-02")["from"] == "2026-02-01T00:00:00Z"


@pytest.mark.parametrize(
    ("text", "month"), [("2026-02", "2026-02-01"), ("", "2026-11-01"), ("2027-01", "2026-11-01"), ("x'", "2026-11-01")]
)
def test_month_is_one_that_has_begun(text, month):
    assert month_of(text, datetime(2026, 11, 29, tzinfo=UTC), UTC).isoformat() == month


def test_months_go_back_by_a_year():
    found = months(datetime(2026, 1, 31, tzinfo=UTC), UTC)
    assert [f"{month:%Y-%m}" for month in found[:3]] == ["2026-01", "2025-12", "2025-11"]
    assert len(found) == 13
    assert last_day(found[2]).isoformat() == "2025-11-30"


def test_showback_queries_do_not_grow(operator, sample, django_assert_max_num_queries):
    with django_assert_max_num_queries(14):
        operator.get("/usage/showback/?range=7d&by=key")


def test_showback_is_linked_from_usage_and_team(operator, sample):
    team = Team.objects.get(name="Ads")
    assert 'href="/usage/showback/"' in operator.get("/usage/").content.decode()
    page = operator.get(f"/admin/accounts/team/{team.pk}/change/").content.decode()
    assert f'href="/usage/showback/?team={team.pk}"' in page
    assert ApiKey.objects.filter(team=team).exists()


@pytest.mark.parametrize(
    "query", ["from=yesterday", "team=" + "9" * 25, "key=%00", "page=-1", "page=99", "month=0000-00"]
)
def test_odd_addresses_are_answered(operator, sample, query):
    assert operator.get(f"/usage/showback/?{query}").status_code == 200
