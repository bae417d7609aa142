"""What people ask of the usage page, each answered two clicks from its front at most."""

import re
from datetime import timedelta

import pytest
from django.contrib.auth.models import User
from django.utils import timezone

from accounts.models import ApiKey, Team
from tests.accounts.pages.reading import Page
from tests.accounts.reports.sample import make, sums_of

pytestmark = pytest.mark.django_db


@pytest.fixture
def sample():
    return make(now=timezone.now().replace(microsecond=0) - timedelta(seconds=5))


@pytest.fixture
def walk(client, sample):
    """Follows links by their words, from the front on, and returns the last page."""
    client.force_login(User.objects.create_superuser("operator"))

    def follow(*words):
        page = Page(client.get("/usage/"))
        for each in words:
            page = Page(client.get(dict(reversed(page.links))[each]))
        return page

    return follow


def test_who_used_most_this_month(walk):
    turns = [int(row[1].replace(",", "")) for row in walk("Month").body("by-team")]
    assert turns == sorted(turns, reverse=True)


def test_what_a_team_used_in_a_week(walk, sample):
    page = walk("7 days", "Ads")
    own = [row for row in sample if row.team_id == Team.objects.get(name="Ads").pk]
    assert page.figures["Turns"] == f"{sums_of(own)['turns']:,}"
    assert "before:" in "".join(page.text)


def test_why_a_model_fails(walk):
    page = walk("qwen3-max")
    assert {"upstream", "timeout"} <= {row[0] for row in page.body("by-reason")}
    assert len(page.body("timeline-title")) > 20


def test_how_much_is_estimated(walk):
    assert re.search(r"\d+\s%\s+of turns estimated", "".join(walk().text))


def test_which_keys_a_limit_refused(walk, sample):
    page = walk("7 days", "rpm")
    refused = {row.api_key.name for row in sample if row.reason == "rpm"}
    assert {row[0] for row in page.body("by-key")} == refused


def test_whether_first_token_is_slower(walk):
    assert re.search(r"before: [\d,]+ / [\d,]+\sms", "".join(walk("24 hours").text))


def test_which_programs_people_use(walk):
    assert {row[0] for row in walk().body("by-client_app")} == {"Codex", "curl", "other"}


def test_which_keys_are_idle(walk):
    long_ago = timezone.now() - timedelta(days=61)
    ApiKey.objects.filter(name="caller 2").update(created_at=long_ago, last_used_at=None)
    assert "caller 2" in "".join(walk().text).partition("Live keys without a turn")[2]


def test_what_a_key_did_at_a_time(walk, sample):
    page = walk("7 days", "caller 1")
    assert {row[1] for row in page.body("latest-title")} == {"caller 1"}
