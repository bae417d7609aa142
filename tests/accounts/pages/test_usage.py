import csv
import io
import json
import re
from datetime import timedelta

import pytest
from django.contrib.auth.models import User
from django.contrib.staticfiles import finders
from django.db.models import Sum
from django.utils import timezone

from accounts.ledger import days, totals
from accounts.models import ApiKey, Team, Usage, UsageHour
from tests.accounts.pages.reading import Page
from tests.accounts.reports.sample import forget, hours_of, make, sums_of

pytestmark = pytest.mark.django_db
TABLES = {"team": "by-team", "key": "by-key", "lingma_model": "by-lingma_model", "reason": "by-reason"}


@pytest.fixture(scope="module")
def now():
    """The time of the newest row, one for all tests: the rows are made once."""
    return timezone.now().replace(microsecond=0) - timedelta(seconds=5)


@pytest.fixture(scope="module")
def sample(shared_rows, now):
    return make(now)


@pytest.fixture
def viewer(client):
    user = User.objects.create_superuser("viewer")
    client.force_login(user)
    return client


@pytest.fixture
def member(client, sample):
    """Of the team Ads."""
    user = User.objects.create_user("member")
    user.teams.add(Team.objects.get(name="Ads"))
    client.force_login(user)
    return client


def text(number):
    return f"{number:,}"


def test_export_of_nothing_is_whole(viewer, exported):
    forget()
    assert json.loads(exported(viewer, "/usage/export.json", {})) == []
    assert exported(viewer, "/usage/export.csv", {}).startswith("request_id,started_at,team,")


def test_export_goes_on_over_pages(viewer, sample, exported, monkeypatch):
    monkeypatch.setattr("accounts.pages.rows.Exported.PAGE", 7)
    rows = json.loads(exported(viewer, "/usage/export.json", {"team": "Ads"}))
    assert len(rows) == len({row["request_id"] for row in rows}) == Usage.objects.filter(team__name="Ads").count()


@pytest.mark.parametrize("form", ["csv", "json"])
def test_export_has_the_memory_of_few_pages(viewer, sample, drained, monkeypatch, form):
    monkeypatch.setattr("accounts.pages.rows.Exported.PAGE", 25)
    wide = {"model": "m" * 128, "tools": "t" * 200, "client": "c" * 40}
    usual = {
        "protocol": "openai",
        "endpoint": "/v1",
        "status": "ok",
        "reason": "stop",
        "started_at": timezone.now(),
        "stream": False,
        "queue_ms": 1,
        "total_ms": 2,
        "prompt_tokens": 3,
        "completion_tokens": 4,
    }
    Usage.objects.bulk_create(Usage(request_id=f"wide-{number}", **usual, **wide) for number in range(2_000))
    drained(viewer, f"/usage/export.{form}", {"status": "refused"})  # what any export needs once
    size, peak = drained(viewer, f"/usage/export.{form}", {})
    assert size > 1_000_000
    assert peak < size  # gathered as one text it is several times that


def test_spreadsheet_runs_nothing_of_an_export(viewer, sample, exported):
    key = ApiKey.objects.get(name="caller 0")
    ApiKey.objects.filter(pk=key.pk).update(name='=HYPERLINK("http://evil.example")')
    Usage.objects.filter(api_key=key).update(model="@SUM(A1)", client="+1")
    rows = list(csv.DictReader(io.StringIO(exported(viewer, "/usage/export.csv", {"key": str(key.pk)}))))
    assert {row["key"] for row in rows} == {'\'=HYPERLINK("http://evil.example")'}
    assert {(row["model"], row["client"]) for row in rows} == {("'@SUM(A1)", "'+1")}


def test_export_tells_key_and_team_limits_apart(viewer, sample, exported):
    some, other = Usage.objects.values_list("pk", flat=True)[:2]
    Usage.objects.filter(pk=some).update(limit_scope="team", stream=True)
    Usage.objects.filter(pk=other).update(limit_scope="key", stream=False)
    told = exported(viewer, "/usage/export.csv", {})
    found = {row["limit_scope"]: row["stream"] for row in csv.DictReader(io.StringIO(told)) if row["limit_scope"]}
    assert found == {"team": "true", "key": "false"}
    rows = json.loads(exported(viewer, "/usage/export.json", {}))
    assert {row["limit_scope"]: row["stream"] for row in rows if row["limit_scope"]} == {"team": True, "key": False}


def test_every_number_leads_to_its_rows(viewer, sample):
    page = Page(viewer.get("/usage/", {"range": "7d", "status": ["ok", "error", "refused"]}))
    numbers = [(words, href) for words, href in page.links if re.fullmatch(r"[\d,]+", words)]
    assert len(numbers) > 40
    for words, href in [*dict(reversed(numbers)).items()][::3]:  # of every table some
        assert href.startswith("/usage/rows/?")
        told = viewer.get(href).content.decode()
        sums = re.findall(r"<dd>(?:<a[^>]*>)?(?:≈\s)?([\d,]+)", told)
        assert words in [re.search(r"Turns in all: ([\d,]+)", told)[1], *sums]


def test_number_of_a_table_has_its_rows(viewer, sample):
    page = viewer.get("/usage/", {"range": "7d"}).content.decode()
    tables = page.partition('id="timeline-title"')[2].partition('id="latest-title"')[0]
    cells = re.findall(r"<td[^>]*>(.*?)</td>", tables)
    assert len(cells) > 200
    assert {cell for cell in cells if "<a href=" not in cell} <= {"", "0", "–"}


def test_row_of_others_leads_to_its_rows(viewer, sample, monkeypatch):
    monkeypatch.setattr("accounts.pages.tables.TOP", 2)
    for most in (50, 4):  # their own values, or those of all but them
        monkeypatch.setattr("accounts.pages.tables.MOST_VALUES", most)
        page = viewer.get("/usage/", {"range": "7d", "status": ["ok", "refused"]}).content.decode()
        rows = re.findall(r"\d+ others?.*?</tr>", page, re.S)
        assert len(rows) > 3
        links = [each for row in rows for each in re.findall(r'<td><a href="(.*?)">([\d,]+)</a>', row)]
        for href, words in links[::4]:
            assert_sum(viewer, href, words)


def assert_sum(viewer, href, words):
    """The rows at an address sum up to a number."""
    told = viewer.get(href.replace("&amp;", "&")).content.decode()
    sums = re.findall(r"<dd>(?:<a[^>]*>)?(?:≈\s)?([\d,]+)", told)
    assert words in [re.search(r"Turns in all: ([\d,]+)", told)[1], *sums], href


def test_cell_of_several_weeks_leads_to_its_rows(viewer, sample):
    made = [copy(row, row.started_at - timedelta(weeks=weeks)) for row in sample[::30] for weeks in (1, 2)]
    UsageHour.objects.bulk_create(hours_of(Usage.objects.bulk_create(made)))
    totals.rebuild(min(row.started_at for row in made), timezone.now())
    page = viewer.get("/usage/", {"range": "30d", "status": ["ok", "cancelled"]}).content.decode()
    heat = page.partition('id="heat-title"')[2].partition('id="latest-title"')[0]
    cells = re.findall(r'<td[^>]*><a href="(.*?)">([\d,]+)</a></td>', heat)
    weekly = [(href, words) for href, words in cells if "hour_of_week" in href]
    assert len(weekly) > 10
    for href, words in weekly[::3]:
        assert_sum(viewer, href, words)
    assert not re.findall(r"<td[^>]*>[^<]", heat)


def copy(row, started_at):
    fields = {field.attname: getattr(row, field.attname) for field in Usage._meta.concrete_fields}
    return Usage(**fields | {"id": None, "request_id": f"{row.request_id}{started_at:%d}", "started_at": started_at})


def test_filter_without_team_is_for_who_sees_all(viewer, member):
    filters = '<option value="none"'
    assert filters not in member.get("/usage/").content.decode()
    member.force_login(User.objects.get(username="viewer"))
    assert filters in member.get("/usage/").content.decode()


def test_figures_say_what_was_before(viewer, sample):
    end = max(row.started_at for row in sample).replace(minute=0, second=0)
    given = {"from": (end - timedelta(hours=12)).isoformat(), "to": end.isoformat()}
    before = [row for row in sample if end - timedelta(hours=24) <= row.started_at < end - timedelta(hours=12)]
    assert f"before: {sums_of(before)['turns']:,}" in viewer.get("/usage/", given).content.decode()


def test_tokens_nobody_counted_are_a_dash(viewer, sample):
    page = Page(viewer.get("/usage/", {"range": "7d", "status": "refused"}))
    assert (page.figures["Tokens in / out"], page.figures["First token p50 / p95"]) == ("–", "–")
    assert {(row[4], row[5]) for row in page.body("by-team")} == {("–", "–")}


def test_estimated_tokens_are_marked(viewer, sample):
    for source in ("estimate", "partial"):
        marked = Page(viewer.get("/usage/", {"range": "7d", "source": source}))
        assert marked.figures["Tokens in / out"].startswith("≈")
    plain = Page(viewer.get("/usage/", {"range": "7d", "source": "upstream"}))
    assert not plain.figures["Tokens in / out"].startswith("≈")


@pytest.mark.parametrize("sources", [[], ["estimate", "upstream"], ["partial"], ["!partial"], ["upstream"]])
def test_share_of_estimates_leads_to_their_rows(viewer, sample, sources):
    page = viewer.get("/usage/", {"range": "7d", "source": sources})
    href = next(each.note_href for each in page.context["figures"] if "estimated" in each.note)
    if sources == ["upstream"]:
        assert href == ""
        return
    found = viewer.get(href).context["sums"]
    wanted = {"!partial": {"estimate"}, "partial": {"partial"}, "estimate": {"estimate"}}
    left = wanted[sources[0]] if sources else {"estimate", "partial"}
    turns = sum(row.count for row in sample if row.usage_source in left)
    assert 0 < found.turns == found.estimated_turns == turns


def test_rows_go_on_page_by_page(viewer, sample):
    given = {"team": "Ads", "status": "ok"}
    wanted = Usage.objects.filter(team__name="Ads", status="ok").order_by("-started_at", "-id")
    seen, href = [], f"/usage/rows/?team={given['team']}&status=ok"
    while href:
        response = viewer.get(href)
        seen += [row.request_id for row in response.context["rows"]]
        href = response.context["next_href"]
    assert seen == list(wanted.values_list("request_id", flat=True))


def test_row_of_several_models_has_a_dash(viewer, sample):
    Usage.objects.filter(status="refused").update(model="", lingma_model="")
    page = Page(viewer.get("/usage/rows/", {"range": "7d", "status": "refused"}))
    assert {row[2] for row in page.body("rows-title")} == {"–"}
    listed = viewer.get("/admin/accounts/usage/", {"status__exact": "refused"}).content.decode()
    assert re.search(r">\s*–\s*<", listed)


FOREIGN = [{"team": "Maps"}, {"key": "caller 5"}, {"team": "none"}, {"team": ["Ads", "Maps"]}, {}]


@pytest.mark.parametrize("given", FOREIGN)
def test_member_sees_nothing_of_other_teams(member, sample, given, exported):
    maps = Team.objects.get(name="Maps")
    ids = {**given, "team": [str(maps.pk)]} if "team" in given else {"key": str(maps.keys.first().pk)}
    for asked in (given, ids):
        wide = asked | {"range": "7d"}
        for path in ("/usage/", "/usage/rows/"):
            # What the reader has typed stands in the form and among the filters.
            page = re.sub(
                r'<ul class="chips".*?</ul>|<option[^>]* selected>.*?</option>',
                "",
                member.get(path, wide).content.decode(),
                flags=re.DOTALL,
            )
            assert not re.search(r">(Maps|Search|caller [2-6])<", page)
        rows = json.loads(exported(member, "/usage/export.json", wide))
        assert {row["team"] for row in rows} <= {"Ads"}
        assert exported(member, "/usage/export.csv", wide).count("Maps") == 0


def test_member_sees_all_of_the_own_team(member, sample):
    own = [row for row in sample if row.team_id == Team.objects.get(name="Ads").pk]
    page = Page(member.get("/usage/", {"range": "7d"}))
    assert page.figures["Turns"] == text(sums_of(own)["turns"])
    assert [row[0] for row in page.body("by-team")] == ["Ads"]


def test_foreign_key_is_not_named_to_a_member(member, sample):
    key = ApiKey.objects.get(name="caller 5")
    page = member.get("/usage/", {"key": str(key.pk)}).content.decode()
    assert "caller 5" not in page
    assert "as if they were not there" in page


@pytest.mark.parametrize("path", ["/usage/rows/", "/usage/export.csv", "/usage/export.json"])
def test_rows_and_exports_need_the_right(client, sample, path):
    assert client.get(path).url.startswith("/login/")
    client.force_login(User.objects.create_user("nobody"))
    assert client.get(path).status_code == 403


def test_first_look_says_what_comes(viewer):
    forget()
    page = viewer.get("/usage/").content.decode()
    assert "No turns yet" in page
    assert "/admin/accounts/apikey/add/" in page


def test_filter_that_makes_no_sense_is_named(viewer, sample):
    page = viewer.get("/usage/", {"status": "odd", "from": "yesterday", "team": "Ads"})
    assert page.status_code == 200
    assert "Status: odd is not one of ok, error, cancelled, refused." in page.content.decode()
    assert [row[0] for row in Page(page).body("by-team")] == ["Ads"]
    assert viewer.get("/usage/export.csv", {"status": "odd"}).status_code == 400


@pytest.mark.parametrize("times", ["range=odd", "from=2026-11-01&from=2026-11-02", f"to={'x' * 200}"])
def test_hour_of_the_week_outlives_no_times(viewer, sample, times):
    page = viewer.get(f"/usage/rows/?{times}&hour_of_week=mon-14")
    assert page.status_code == 200
    assert "Hour of the week: It needs a start" in page.content.decode()


@pytest.mark.parametrize("path", ["/usage/", "/usage/rows/"])
def test_unknown_filter_is_named(viewer, sample, path):
    page = viewer.get(path, {"stauts": "ok", "<b>": "1", "team": "Ads", "sort": "turns", "refresh": "10"})
    assert page.status_code == 200
    words = "There is no such filter, and nothing is filtered by it: &lt;b&gt;, stauts."
    assert words in page.content.decode()
    assert "There is no such filter" not in viewer.get(path, {"team": "Ads", "range": "7d"}).content.decode()


def test_rows_after_a_row_are_no_filter(viewer, sample):
    address = re.search(r'href="([^"]*after=[^"]*)"', viewer.get("/usage/rows/").content.decode())[1]
    assert "There is no such filter" not in viewer.get(address.replace("&amp;", "&")).content.decode()


@pytest.mark.parametrize("form", ["csv", "json"])
def test_export_by_an_unknown_filter_is_refused(viewer, sample, form):
    answer = viewer.get(f"/usage/export.{form}", {"stauts": "ok"})
    assert (answer.status_code, "stauts" in answer.content.decode()) == (400, True)


def test_long_and_hostile_names_are_cut_and_escaped(viewer, sample):
    ApiKey.objects.filter(name="caller 0").update(name="<img onerror=x>" + "n" * 80)
    Usage.objects.update(model="<script>" + "m" * 100)
    page = viewer.get("/usage/", {"range": "7d"}).content.decode()
    assert "<img" not in page
    assert "<script>" not in page
    assert "n" * 80 not in re.sub(r'(title|value)="[^"]*"', "", page)


@pytest.mark.parametrize(("path", "most"), [("/usage/?range=7d", 18), ("/usage/rows/?range=7d", 7)])
def test_number_of_queries_does_not_grow(viewer, sample, path, most, django_assert_max_num_queries):
    with django_assert_max_num_queries(most):
        viewer.get(path)


@pytest.mark.parametrize(
    ("filter_", "most", "first"),
    [
        # One of them is asked in the first hours of a day alone: today has too few rows for the list then.
        ("status=ok", 21, 2),
        ("instance=w1-i1", 15, 1),
        ("model=org_auto&status=ok", 15, 1),
        ("team=Ads&status=ok&source=none", 26, 2),
    ],
)
def test_finished_days_cost_few_queries(viewer, sample, filter_, most, first, django_assert_max_num_queries):
    """What the first page reads of them, this period's and the one's before, the next has in memory."""
    days.make_missing(timezone.now())
    for more in (first, 0):
        with django_assert_max_num_queries(most + more) as asked:
            viewer.get(f"/usage/?range=7d&{filter_}")
        assert sum('FROM "accounts_usageday"' in each["sql"] for each in asked) <= 4 + more


def test_page_comes_anew_when_told(viewer, sample):
    page = viewer.get("/usage/?refresh=10").content.decode()
    assert '<meta http-equiv="refresh" content="10">' in page
    assert "http-equiv" not in viewer.get("/usage/").content.decode()


def test_late_rows_are_said_to_be_missing(viewer, sample, redis_server):
    import redis

    with redis.Redis.from_url(redis_server) as server:
        server.flushdb()
        assert "As of" in (fresh := viewer.get("/usage/").content.decode())
        assert "waits for the worker" not in fresh
        server.xadd("lgw:usage", {"row": b"{}"}, id="1790000000000-0")
        assert "waits for the worker" in viewer.get("/usage/").content.decode()
        server.flushdb()


def test_idle_keys_are_listed(viewer, sample):
    long_ago = timezone.now() - timedelta(days=70)
    ApiKey.objects.filter(name="caller 3").update(created_at=long_ago, last_used_at=long_ago)
    page = viewer.get("/usage/")
    assert "Live keys without a turn for 60 days: 1" in page.content.decode()
    href = dict(Page(page).links)["caller 3"]
    assert viewer.get(href).context["original"].name == "caller 3"


def test_idle_key_leads_a_member_to_its_rows(member):
    long_ago = timezone.now() - timedelta(days=70)
    key = ApiKey.objects.get(name="caller 1")
    ApiKey.objects.filter(pk=key.pk).update(created_at=long_ago, last_used_at=long_ago)
    href = dict(Page(member.get("/usage/")).links)["caller 1"]
    assert href == f"/usage/rows/?key={key.pk}"
    assert f"Turns in all: {Usage.objects.filter(api_key=key).aggregate(all=Sum('count'))['all']:,}." in " ".join(
        "".join(Page(member.get(href)).text).split()
    )


def test_filters_of_rows_are_taken_off_there(viewer, sample):
    page = Page(viewer.get("/usage/rows/?range=7d&team=Ads&status=ok"))
    chips = [href for words, href in page.links if words == "×"]
    assert chips == [
        "/usage/rows/?range=7d&status=ok", "/usage/rows/?range=7d&team=Ads", "/usage/rows/?team=Ads&status=ok",
    ]  # fmt: skip


def test_charts_are_drawn_from_own_files(viewer, sample):
    page = viewer.get("/usage/?range=7d").content.decode()
    scripts = re.findall(r'<script src="/static/([^"]+)" defer></script>', page)
    assert scripts == ["unfold/js/chart/chart.js", "pages/charts.js"]
    assert all(finders.find(name) for name in (*scripts, "unfold/js/chart/LICENSE"))
    assert "<script" not in viewer.get("/usage/?range=7d&reason=none&status=error").content.decode()


def test_reasons_are_those_of_what_went_wrong(viewer, sample):
    Usage.objects.filter(status="ok").update(reason="stop")
    assert "stop" not in {row[0] for row in Page(viewer.get("/usage/?range=7d&instance=w1-i1")).body("by-reason")}
