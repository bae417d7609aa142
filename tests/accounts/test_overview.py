import html
import re
from datetime import timedelta

import pytest
from django.urls import reverse
from django.utils import timezone

from accounts.audit.entries import record
from accounts.ledger import hours
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


def test_ledger_and_its_backlog_are_shown(admin_client, redis_server):
    import redis

    balance = "Ledger: admitted = closed + open + orphaned"
    with redis.Redis.from_url(redis_server) as server:
        server.flushdb()
        page = text_of(admin_client.get(INDEX))
        assert figure(page, balance)[:2] == ("adds up", "gw-good")
        assert figure(page, "Usage rows to be filed")[0] == "0"
        server.xadd("lgw:usage", {"row": b"{}"})
        assert figure(text_of(admin_client.get(INDEX)), "Usage rows to be filed")[0] == "1"
        server.flushdb()


@pytest.mark.parametrize(
    ("mode", "shown"), [("ledger", ("does not add up", "gw-bad")), ("worker", ("–", "")), ("redis", ("–", ""))]
)
def test_ledger_is_not_good_when_nobody_looks(admin_client, redis_server, mode, shown):
    from gateway_project.lib import degraded

    degraded.begin(mode, "a test")
    page = text_of(admin_client.get(INDEX))
    assert figure(page, "Ledger: admitted = closed + open + orphaned")[:2] == shown


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


def test_who_may_not_see_instances_reads_so(client):
    people = People()
    page = text_of(people.client(client, "staff").get(INDEX))
    assert "Instances are not shown to you" in page
    assert "Instances ready" not in page
    assert "Instances are not shown" not in text_of(people.client(client, "operator").get(INDEX))
