import html
import re
import time
from datetime import datetime, timedelta
from urllib.parse import parse_qs, urlsplit

import msgspec
import pytest
import redis
from django.urls import reverse
from django.utils import timezone

from accounts.audit.entries import record
from accounts.ledger import hours
from accounts.models import ApiKey
from accounts.reports.words import share
from bridge.status.instance import InstanceStatus
from tests.accounts.pages.reading import Page
from tests.accounts.roles.people import People
from tests.accounts.test_admin import figure, make_turn, text_of

pytestmark = pytest.mark.django_db
INDEX = reverse("admin:index")


def bars(page):
    """(words, address) of each bar."""
    chart = page.partition('<ol class="gw-bars">')[2].partition("</ol>")[0]
    return [
        (words, html.unescape(href)) for href, words in re.findall(r'<a href="([^"]*)" aria-label="([^"]*)"', chart)
    ]


def test_bars_lead_to_the_turns_they_count(admin_client):
    key = People().key_a
    for number, minutes in enumerate([4, 21, 22, 100, 170]):
        failed = {"status": "error", "reason": "upstream"} if minutes == 22 else {}
        make_turn(number, key, started_at=timezone.now() - timedelta(minutes=minutes), **failed)
    make_turn(9, key, started_at=timezone.now() - timedelta(minutes=190))
    page = text_of(admin_client.get(INDEX))
    found = bars(page)
    assert len(found) == 36
    counts = [int(re.search(r"(\d+|no) turns?", words)[1].replace("no", "0")) for words, _ in found]
    assert sum(counts) == 5
    for (_, href), count in zip(found, counts, strict=True):
        assert Page(admin_client.get(href)).figures.get("Turns", "0") == str(count)
    table = Page(admin_client.get(INDEX)).body("minutes-title")[:36]
    assert [int(row[2]) for row in table] == counts
    assert sum(int(row[3]) for row in table) == 1
    failed = html.unescape(re.search(r'href="([^"]*outcome=failed[^"]*)">1</a>', page)[1])
    assert Page(admin_client.get(failed)).figures["Turns"] == "1"


@pytest.mark.parametrize(("role", "shown"), [("viewer", 2), ("operator", 2), ("lead", 1), ("staff", None)])
def test_chart_counts_what_the_reader_may_see(client, role, shown):
    people = People()
    make_turn(1, people.key_a, team=people.a)
    make_turn(2, people.key_b, team=people.b)
    page = text_of(people.client(client, role).get(INDEX))
    counts = [int(re.search(r"(\d+|no) turns?", words)[1].replace("no", "0")) for words, _ in bars(page)]
    assert (sum(counts) if counts else None) == shown
    assert ("of your teams" in page) is (role == "lead")


def test_empty_chart_is_a_sentence(admin_client):
    page = text_of(admin_client.get(INDEX))
    assert "No turns in the last three hours." in page
    assert "gw-bars" not in page


def test_chart_has_no_inline_style_or_script(admin_client):
    make_turn(1, People().key_a)
    chart = text_of(admin_client.get(INDEX)).partition('aria-labelledby="minutes-title"')[2].partition("</section>")[0]
    assert "gw-bars" in chart
    assert not re.search(r"<style|<script|\sstyle=|\son[a-z]+=|\sx-", chart)


def test_first_token_stands_beside_the_day_before(admin_client):
    key = People().key_a
    make_turn(1, key, first_token_ms=800)
    make_turn(2, key, first_token_ms=90, started_at=timezone.now() - timedelta(hours=5))
    hours.rebuild(timezone.now() - timedelta(hours=7), timezone.now())
    page = text_of(admin_client.get(INDEX))
    name = re.search(r">(First token in the last hour[^<]*)<", page)[1]
    assert name == "First token in the last hour, p95 (the day before: 98\N{NO-BREAK SPACE}ms)"
    assert figure(page, name)[0] == "988\N{NO-BREAK SPACE}ms"


def test_ledger_and_its_backlog_are_shown(admin_client, one_ready):
    balance = "Ledger: admitted = closed + open + orphaned"
    page = text_of(admin_client.get(INDEX))
    assert figure(page, balance)[:2] == ("adds up", "gw-good")
    assert figure(page, "Usage rows to be filed")[0] == "0"
    one_ready.xadd("lgw:usage", {"row": b"{}"})
    assert figure(text_of(admin_client.get(INDEX)), "Usage rows to be filed")[0] == "1"


@pytest.mark.parametrize(
    ("mode", "shown"), [("ledger", ("does not add up", "gw-bad")), ("worker", ("–", "")), ("redis", ("–", ""))]
)
def test_ledger_is_not_good_when_nobody_looks(admin_client, redis_server, mode, shown):
    from gateway_project.lib import degraded

    degraded.begin(mode, "a test")
    page = text_of(admin_client.get(INDEX))
    assert figure(page, "Ledger: admitted = closed + open + orphaned")[:2] == shown


def beat(server, name, **facts):
    plain = {
        "name": name, "process": 1, "pid": 99, "generation": 1, "state": "ready", "login": True, "in_flight": 2,
        "limit": 8, "restarts": 4, "last_error": "", "version": "2.5.1", "upstream": "lingma", "models": 6,
        "started_at": time.time() - 7200, "at": time.time(), "waiting": 3,
    }  # fmt: skip
    server.set(f"lgw:instance:{name}", msgspec.json.encode(InstanceStatus(**plain | facts)), ex=60)


@pytest.fixture
def one_ready(redis_server):
    """Redis, where one instance is ready."""
    with redis.Redis.from_url(redis_server) as server:
        server.flushdb()
        beat(server, "w1-i1")
        yield server
        server.flushdb()


def turns_behind(client, address):
    return int(Page(client.get(address)).figures["Turns"].replace(",", ""))


def per_minute(client, address):
    start, end = (datetime.fromisoformat(parse_qs(urlsplit(address).query)[name][0]) for name in ("from", "to"))
    return f"{turns_behind(client, address) / max((end - start) / timedelta(minutes=1), 1):.1f}"


def failed_share(client, address):
    failed = turns_behind(client, address)
    return share(failed, turns_behind(client, address.replace("outcome=failed&", "")))


def p95(client, address):
    return Page(client.get(address)).figures["First token p50 / p95"].rpartition("/ ")[2]


def rows_behind(client, address):
    return re.search(r"Turns in all: ([\d,]+)", text_of(client.get(address)))[1]


def listed(client, address):
    return client.get(address).context["cl"].result_list


def ready(client, address):
    states = [each.state for each in listed(client, address)]
    return f"{states.count('ready')} / {len(states)}"


def running(client, address):
    rows = listed(client, address)
    return f"{sum(each.in_flight for each in rows)} / {sum(each.limit for each in rows if each.state == 'ready')}"


def rows_waiting(client, address):
    return re.search(r"(\d+) usage rows wait to be filed", text_of(client.get(address)))[1]


BEHIND = {
    "Instances ready": ready,
    "Turns running": running,
    # Web processes tell that page of each turn that waits while somebody looks at it; here there are none.
    "Turns that wait for a place": lambda client, address: (
        "3" if "Turns that wait for a place" in text_of(client.get(address)) else None
    ),
    "Ledger: admitted = closed + open + orphaned": lambda client, address: (
        "adds up" if "No turn matches these filters" in text_of(client.get(address)) else "does not add up"
    ),
    "Usage rows to be filed": rows_waiting,
    "Turns per minute, now": per_minute,
    "Failed in the last hour (the day before: 17\N{NO-BREAK SPACE}%)": failed_share,
    "First token in the last hour, p95 (the day before: 98\N{NO-BREAK SPACE}ms)": p95,
    "Turns in 24 hours": rows_behind,
    "Failed in 24 hours": rows_behind,
    "Turned away in 24 hours": rows_behind,
    "Live keys": lambda client, address: str(len(listed(client, address))),
    "Keys that expire within 14 days": lambda client, address: str(len(listed(client, address))),
}
"""What each figure leads to says the same, read as it is there."""


@pytest.fixture
def busy_gateway(redis_server):
    people, now = People(), timezone.now()
    ApiKey.objects.filter(pk=people.key_b.pk).update(expires_at=now + timedelta(days=3))
    failed, refused = {"status": "error", "reason": "upstream"}, {"status": "refused", "reason": "rpm"}
    for number, (minutes, facts) in enumerate([
        (0.5, {}), (1, failed), (1.5, {}), (8, {"first_token_ms": 800}), (50, refused | {"count": 7}), (300, failed),
        (300, {"first_token_ms": 90}), (1380, refused | {"count": 4}),
    ]):  # fmt: skip
        make_turn(number, people.key_a, started_at=now - timedelta(minutes=minutes), **facts)
    hours.rebuild(now - timedelta(hours=26), now)
    with redis.Redis.from_url(redis_server) as server:
        server.flushdb()
        beat(server, "w1-i1")
        beat(server, "w1-i2", state="backoff", login=False, in_flight=0)
        for _ in range(2):
            server.xadd("lgw:usage", {"row": b"{}"})
        yield people
        server.flushdb()


def test_every_figure_leads_to_what_it_counts(admin_client, busy_gateway):
    page = text_of(admin_client.get(INDEX))
    names = [html.unescape(each) for each in re.findall(r'<p class="mb-1">([^<]*)</p>', page)]
    assert names == list(BEHIND)
    # What comes after the look is none of it.
    make_turn(90, busy_gateway.key_a, status="error", reason="upstream", first_token_ms=9_000)
    hours.rebuild(timezone.now() - timedelta(hours=1), timezone.now())
    shown = {name: figure(page, name) for name in names}
    told = {name: BEHIND[name](admin_client, address) for name, (_, _, address) in shown.items()}
    assert told == {name: value for name, (value, _, _) in shown.items()}


def test_failing_turns_have_a_time_and_advice(admin_client):
    key, first = People().key_a, timezone.now() - timedelta(minutes=30)
    for number, minutes in enumerate([70, 10, 20]):
        make_turn(
            number, key, status="error", reason="upstream", started_at=timezone.now() - timedelta(minutes=minutes)
        )
    make_turn(8, key, status="refused", reason="unavailable", started_at=first)
    make_turn(9, key, started_at=first - timedelta(minutes=5))
    page = text_of(admin_client.get(INDEX))
    line = re.search(r"75\N{NO-BREAK SPACE}% of the turns of the last hour failed, [^<]*<a [^>]*>Show them</a>", page)[
        0
    ]
    moment = rf"({first:%H:%M:%S}|{first:%Y-%m-%d %H:%M}) UTC"
    assert re.search(rf"the first at {moment}\. See for which reason, and whether it is one", line)
    assert turns_behind(admin_client, html.unescape(re.search('href="([^"]*)"', line)[1])) == 3


def test_single_failure_on_busy_day_is_no_alarm(admin_client, one_ready):
    key = People().key_a
    unknown = figure(text_of(admin_client.get(INDEX)), "Failed in the last hour (the day before: –)")
    assert unknown[:2] == ("–", "")
    for number in range(30):
        make_turn(number, key)
    good = figure(text_of(admin_client.get(INDEX)), "Failed in the last hour (the day before: –)")
    make_turn(31, key, status="error", reason="upstream")
    neither = figure(text_of(admin_client.get(INDEX)), "Failed in the last hour (the day before: –)")
    assert (good[:2], neither[:2]) == (("0.0\N{NO-BREAK SPACE}%", "gw-good"), ("3.2\N{NO-BREAK SPACE}%", ""))


def test_overview_is_not_green_when_all_is_down(admin_client, one_ready):
    key = People().key_a
    make_turn(1, key)
    page = text_of(admin_client.get(INDEX))
    assert page.count("gw-good") >= 2  # instances, and turns of the last hour
    beat(one_ready, "w1-i1", state="login_required", login=False)
    page = text_of(admin_client.get(INDEX)).partition("gw-verdict")[2]
    assert "Down: no instance can take a turn." in page
    assert not re.search("gw-good|-green-", page.partition("</main>")[0])
    make_turn(2, key, status="error", reason="logged_out")
    failed = figure(text_of(admin_client.get(INDEX)), "Failed in the last hour (the day before: –)")
    assert failed[:2] == ("50\N{NO-BREAK SPACE}%", "gw-bad")


def test_failing_turns_began_with_bad_hours(admin_client, one_ready):
    key, now = People().key_a, timezone.now()
    last = (now - timedelta(hours=1)).replace(minute=0, second=0, microsecond=0)
    for number, hours_before in enumerate([1, 2, 4]):  # a good hour lies between
        at = last - timedelta(hours=hours_before) + timedelta(minutes=30)
        make_turn(number, key, status="error", reason="upstream", started_at=at)
    make_turn(7, key, started_at=last - timedelta(hours=2.5))
    for number, at in enumerate([last + timedelta(seconds=1), now - timedelta(seconds=9)], 8):
        make_turn(number, key, status="error", reason="upstream", started_at=at)
    hours.rebuild(last - timedelta(hours=5), now)
    page = text_of(admin_client.get(INDEX))
    assert f"Degraded since {last - timedelta(hours=1.5):%Y-%m-%d %H:%M} UTC" in page


def test_busiest_keys_mark_estimated_tokens(admin_client):
    people = People()
    for number, source in enumerate(["upstream", "estimate"]):
        make_turn(number, people.key_a, usage_source=source, prompt_tokens=1200, completion_tokens=3)
    make_turn(2, people.key_b, usage_source="upstream", prompt_tokens=7)
    hours.rebuild(timezone.now() - timedelta(hours=2), timezone.now())
    busiest = text_of(admin_client.get(INDEX)).partition("Busiest keys")[2].replace("\N{NO-BREAK SPACE}", " ")
    assert ">≈ 2,400 / 6<" in busiest
    assert ">7 / 2<" in busiest


def test_changes_are_in_words(admin_client):
    record("logged_in", "auth.user", text="ada")
    record("quarantined", "accounts.apikey", text="ci")
    changes = text_of(admin_client.get(INDEX)).partition("Latest changes")[2]
    assert "logged in" in changes
    assert "put in quarantine" in changes
    assert "logged_in" not in changes


def test_ten_changes_lead_to_the_audit_log(admin_client):
    for number in range(12):
        record("made", "thing", text=f"thing {number}")
    page = text_of(admin_client.get(INDEX)).partition("Latest changes")[2]
    assert "thing 11" in page
    assert "thing 1<" not in page
    assert re.search(r'href="/admin/accounts/auditentry/\d+/change/"', page)
    assert f'href="{reverse("admin:accounts_auditentry_changelist")}"' in page


def test_user_who_sees_no_instances_reads_so(client):
    people = People()
    page = text_of(people.client(client, "staff").get(INDEX))
    assert "Instances are not shown to you" in page
    assert "Instances ready" not in page
    assert "Instances are not shown" not in text_of(people.client(client, "operator").get(INDEX))
