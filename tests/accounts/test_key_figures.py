"""Figures in the list of keys and on a key's page: each leads to the rows it sums."""

import re
from datetime import timedelta
from urllib.parse import parse_qs, urlparse

import pytest
from django.db import connection
from django.test.utils import CaptureQueriesContext
from django.urls import reverse
from django.utils import timezone

from accounts.admin.key_figures import Times
from accounts.ledger import hours
from accounts.models import Team, Usage, UsageTotal
from accounts.reports import filters as usage_filters
from accounts.reports.summary import rows
from accounts.reports.visibility import Visibility
from accounts.roles.groups import TEAM_LEAD
from tests.accounts.roles.people import make_key, user_of

pytestmark = pytest.mark.django_db
KEYS = reverse("admin:accounts_apikey_changelist")


def use(key, at, count=1, **fields):
    plain = {"status": "ok", "reason": "", "queue_ms": 0, "total_ms": 5, "prompt_tokens": 1, "completion_tokens": 1}
    Usage.objects.create(
        request_id=f"req_{Usage.objects.count():032x}", api_key=key, team=key.team, protocol="openai",
        endpoint="/v1/x", model="qwen", instance="w1", stream=False, started_at=at, count=count, **plain | fields,
    )  # fmt: skip


def filed():
    hours.rebuild(timezone.now() - timedelta(days=60), timezone.now() + timedelta(hours=1))


def sum_behind(address):
    """What the rows add up to that the address shows."""
    found = usage_filters.parse(parse_qs(urlparse(address).query), timezone.now(), timezone.get_current_timezone())
    return sum(row.count for row in rows(found, Visibility(everything=True)))


def cells(page, column):
    """Of each key the figure, and where it leads."""
    found = re.findall(rf"field-{column}[^>]*>(.*?)</td>", page.content.decode(), re.S)
    links = [re.search(r'href="([^"]+)"[^>]*>([^<]+)<', each) for each in found]
    return [(link[2], link[1].replace("&amp;", "&")) if link else None for link in links]


@pytest.fixture
def used():
    """Two keys with usage at the ends of the spans, and one without."""
    now, times = timezone.now(), Times.at(timezone.now())
    busy, idle, fresh = make_key("busy"), make_key("idle"), make_key("fresh")
    second = timedelta(seconds=1)
    for at in (times.since - second, times.since, now - timedelta(days=3), now):
        use(busy, at)
    use(idle, now - timedelta(days=1), 3)
    for at in (times.yesterday - second, times.yesterday, times.today - second, times.today):
        use(idle, at, 40, status="refused", reason="rpm")
        use(idle, at, 5, status="refused", reason="model")
    filed()
    return busy, idle, fresh


def test_figures_lead_to_the_rows_they_sum(used, admin_client):
    page = admin_client.get(KEYS)
    turns, hits = cells(page, "turns"), cells(page, "hits")
    assert [each and each[0] for each in turns] == [None, "183", "3"]  # the latest key first
    assert [each and each[0] for each in hits] == [None, "80", None]
    for text, address in filter(None, [*turns, *hits]):
        assert sum_behind(address) == int(text)


@pytest.mark.parametrize(("column", "order"), [("turns", ["fresh", "busy", "idle"]), ("hits", None)])
def test_list_is_sorted_by_figures(used, admin_client, column, order):
    first = admin_client.get(KEYS)
    number = list(first.context["cl"].list_display).index(column)
    names = [key.name for key in admin_client.get(KEYS, {"o": str(number)}).context["cl"].result_list]
    assert names == order if order else names[-1] == "idle"


@pytest.mark.skipif(connection.vendor != "sqlite", reason="it reads the plan of SQLite")
@pytest.mark.usefixtures("used")
def test_order_by_figures_searches_by_key(admin_client):
    with CaptureQueriesContext(connection) as queries:
        admin_client.get(KEYS, {"o": "6.7"})
    (query,) = [each["sql"] for each in queries if "turns_sum" in each["sql"]]
    with connection.cursor() as cursor:
        cursor.execute(f"EXPLAIN QUERY PLAN {query}")
        plan = [row[3] for row in cursor.fetchall()]
    assert [line for line in plan if "usagetotal" in line and "api_key_id=?" not in line] == []
    assert [line for line in plan if "usagehour" in line and "api_key_id=?" not in line] == []


def test_queries_for_figures_do_not_grow(admin_client, django_assert_num_queries):
    for number in range(60):
        make_key(f"key {number}")
    with django_assert_num_queries(8):
        admin_client.get(KEYS)


def test_lead_sees_sums_of_the_own_team(client):
    own, other = (Team.objects.create(name=name) for name in ("own", "other"))
    key = make_key("moved", team=other)
    use(key, timezone.now() - timedelta(days=2), 7)
    key.team = own
    key.save()
    use(key, timezone.now() - timedelta(days=1), 2)
    filed()
    client.force_login(user_of("lead", TEAM_LEAD, teams=[own]))
    assert cells(client.get(KEYS), "turns")[0][0] == "2"


def test_page_of_a_key_has_days_and_turns(used, admin_client):
    busy, idle, _ = used
    page = admin_client.get(reverse("admin:accounts_apikey_change", args=[busy.pk]))
    days = page.context["key_usage"]["days"]
    assert (len(days), sum(int(day["turns"]) for day in days)) == (30, 2)
    for day in days:
        assert sum_behind(day["address"]) == int(day["turns"])
    assert len(page.context["key_usage"]["turns"]["rows"]) == 4
    assert "/usage/r/req_" in page.content.decode()
    page = admin_client.get(reverse("admin:accounts_apikey_change", args=[idle.pk]))
    assert "The limit of the key" in page.content.decode() or "A limit of the key" in page.content.decode()


def test_bad_turns_of_a_day_lead_to_them(used, admin_client):
    _, idle, _ = used
    use(idle, timezone.now(), status="error", reason="upstream")
    use(idle, timezone.now(), status="cancelled", reason="client_closed")
    filed()
    page = admin_client.get(reverse("admin:accounts_apikey_change", args=[idle.pk]))
    days = page.context["key_usage"]["days"]
    assert sum(int(day["bad"]) for day in days) == 4 * 45 + 1
    for day in days:
        assert (sum_behind(day["bad_address"]) if day["bad_address"] else 0) == int(day["bad"])
    shown = page.content.decode().partition('id="gw-days"')[2].partition("</table>")[0]
    assert shown.count("status=error&amp;status=refused") == sum(day["bad"] != "0" for day in days)


@pytest.mark.parametrize(
    ("name", "words"),
    [("claude-x", "It may use claude-x."), ("gpt-5", "It may not use gpt-5."), ("<b>", "It may not use &lt;b&gt;.")],
)
def test_name_is_tried_against_the_policy(admin_client, name, words):
    key = make_key("alice", allowed_models="claude-*")
    page = admin_client.get(reverse("admin:accounts_apikey_change", args=[key.pk]), {"try": name})
    assert words in page.content.decode()


def test_team_list_has_sums_of_the_month(admin_client, client):
    teams = [Team.objects.create(name=name) for name in ("a", "b", "c")]
    now = timezone.now()
    for team, count, busy in zip(teams, (3, 1, 0), (3000, 1000, 0), strict=True):
        keys = [make_key(f"key {number} of {team}", team=team) for number in range(2)]
        lead = user_of(f"lead of {team}", TEAM_LEAD, teams=[team])
        for _ in range(count):
            use(keys[0], now, total_ms=busy // count)
    filed()
    page = admin_client.get(reverse("admin:accounts_team_changelist"))
    assert [each and each[0] for each in cells(page, "turns")] == ["3", "1", None]
    for text, address in filter(None, cells(page, "turns")):
        assert sum_behind(address) == int(text)
    shown = re.findall(r"field-pool_share[^>]*>(.*?)</td>", page.content.decode(), re.S)
    shares = [re.sub("<[^>]*>", "", each).strip() for each in shown]
    assert [each.replace("\N{NO-BREAK SPACE}", " ") for each in shares] == ["75 %", "25 %", "0.0 %"]
    client.force_login(lead)
    page = client.get(reverse("admin:accounts_team_changelist")).content.decode()
    assert "lead of b" not in page
    assert ">b<" not in page


def test_keys_that_nobody_uses_are_listed(admin_client):
    now = timezone.now()
    long_ago = now - timedelta(days=31)
    for name, made, used in (("unused", long_ago, None), ("left", long_ago, long_ago), ("busy", long_ago, now)):
        key = make_key(name)
        type(key).objects.filter(pk=key.pk).update(created_at=made, last_used_at=used)
    make_key("new")
    page = admin_client.get(f"{KEYS}?state=idle")
    assert {key.name for key in page.context["cl"].result_list} == {"unused", "left"}


def test_team_page_sums_its_month(admin_client):
    team, other = Team.objects.create(name="red"), Team.objects.create(name="blue")
    key, now = make_key("a", team=team), timezone.now()
    use(key, now, count=3)
    use(key, now, status="error", reason="upstream", prompt_tokens=40)
    use(key, now, count=5, status="refused", reason="rpm")
    use(key, now - timedelta(days=40))
    use(make_key("b", team=other), now)
    filed()
    page = admin_client.get(reverse("admin:accounts_team_change", args=[team.pk]))
    shown = {name: (value, address) for name, value, address in page.context["month_sums"]}
    counts = {name: int(shown[name][0]) for name in ("Turns", "Failed", "Turned away")}
    assert counts == {"Turns": 9, "Failed": 1, "Turned away": 5}
    assert {name: sum_behind(shown[name][1]) for name in counts} == counts


def test_team_figures_are_sorted(admin_client):
    for name, turns, busy in (("red", 1, 900), ("blue", 30, 5), ("green", 0, 0)):
        team = Team.objects.create(name=name)
        key = make_key(f"of {name}", team=team)
        for _ in range(turns):
            use(key, timezone.now(), total_ms=busy)
    filed()
    teams = reverse("admin:accounts_team_changelist")
    for column, order in (("4", ["green", "red", "blue"]), ("5", ["green", "blue", "red"])):
        page = admin_client.get(teams, {"o": column})
        assert [team.name for team in page.context["cl"].result_list] == order
        page = admin_client.get(teams, {"o": f"-{column}"})
        assert [team.name for team in page.context["cl"].result_list] == order[::-1]


def test_thousands_of_teams_are_sorted(admin_client):
    hour = timezone.now().replace(minute=0, second=0, microsecond=0)
    each = {"batch_size": 500}  # PostgreSQL has five seconds for a statement
    teams = Team.objects.bulk_create([Team(name=f"team {number:05}") for number in range(10_006)], **each)
    totals = (
        UsageTotal(level="hour", period=hour, team=team, digest=team.name, turns=number * 7 % 10_007, busy_ms=number)
        for number, team in enumerate(teams, start=1)
    )
    UsageTotal.objects.bulk_create(totals, **each)
    for column, turns in (("-4", 10_006), ("4", 1)):
        page = admin_client.get(reverse("admin:accounts_team_changelist"), {"o": column})
        (first, *_, last) = page.context["cl"].result_list
        assert first.turns_sum == turns
        assert abs(last.turns_sum - first.turns_sum) == 49
    page = admin_client.get(reverse("admin:accounts_team_changelist"), {"o": "-5"})
    assert page.context["cl"].result_list[0] == teams[-1]
    assert teams[-1].name in admin_client.get(reverse("showback")).content.decode()


def test_team_page_marks_estimated_tokens(admin_client):
    team = Team.objects.create(name="red")
    key, now = make_key("a", team=team), timezone.now()

    def shown():
        filed()
        page = admin_client.get(reverse("admin:accounts_team_change", args=[team.pk]))
        sums = {name: value for name, value, _ in page.context["month_sums"]}
        return [sums[name].replace("\N{NO-BREAK SPACE}", " ") for name in ("Tokens in", "Tokens out")]

    assert shown() == ["–", "–"]
    use(key, now, prompt_tokens=1200, completion_tokens=30, usage_source="upstream")
    assert shown() == ["1,200", "30"]
    use(key, now, prompt_tokens=300, completion_tokens=4, usage_source="estimate")
    assert shown() == ["≈ 1,500", "≈ 34"]


def test_queries_for_teams_do_not_grow(admin_client, django_assert_num_queries):
    teams = reverse("admin:accounts_team_changelist")
    for number in range(2):
        use(make_key(f"of {number}", team=Team.objects.create(name=f"team {number}")), timezone.now())
    filed()
    admin_client.get(teams)
    with django_assert_num_queries(11):
        assert len(admin_client.get(teams).context["cl"].result_list) == 2
    for number in range(2, 42):
        use(make_key(f"of {number}", team=Team.objects.create(name=f"team {number}")), timezone.now())
    filed()
    with django_assert_num_queries(11):
        assert len(admin_client.get(teams).context["cl"].result_list) == 42
