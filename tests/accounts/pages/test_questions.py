"""What people ask of the usage page, each answered two clicks from its front at most."""

import re
from collections import Counter
from datetime import timedelta

import pytest
from django.contrib.auth.models import User
from django.utils import timezone

from accounts.ledger import hours
from accounts.models import ApiKey, Team, Usage
from tests.accounts.pages.reading import Page
from tests.accounts.reports.sample import make, sums_of

pytestmark = pytest.mark.django_db
MOST_CLICKS = 2


@pytest.fixture(scope="module")
def sample(shared_rows):
    return make(now=timezone.now().replace(microsecond=0) - timedelta(seconds=5))


@pytest.fixture(scope="module")
def passed(sample):
    """Pages on the way to others, by their address: none of these tests changes what they link to."""
    return {}


@pytest.fixture
def walk(client, passed):
    """Follows links by their words, or as a function finds them on a page, from the front on: the last page."""
    client.force_login(User.objects.create_superuser("operator"))

    def follow(*words):
        assert len(words) <= MOST_CLICKS
        href = "/usage/"
        for each in words:
            if href not in passed:
                passed[href] = Page(client.get(href))
            page = passed[href]
            href = each(page) if callable(each) else dict(reversed(page.links))[each]
        return Page(client.get(href))

    return follow


def turns_by(rows, name_of):
    """{name: turns} of rows, in plain Python."""
    sums = Counter()
    for row in rows:
        sums[name_of(row)] += row.count
    return dict(sums)


def shown(page, section):
    """{name: turns} of a table, in its order."""
    return {row[0]: int(row[1].replace(",", "")) for row in page.body(section)}


def bar_of(hour):
    """On a page, the link of the bar of that hour."""
    return lambda page: next(href for href, title, _ in page.bars if title.startswith(f"{hour:%Y-%m-%d %H:00}: "))


def from_here_on(hour):
    """On a page, the link below the bars to the same from that hour on; not the first of them, which has a date."""
    return lambda page: dict(reversed(page.links))[f"{hour:%H:%M}" if hour.hour else f"{hour:%Y-%m-%d %H:%M}"]


def whole_hour(rows):
    """The hour of the last day that most of these rows are in, and those of them that are; not a part of an hour."""
    now = timezone.now()
    first = now.replace(minute=0, second=0, microsecond=0) - timedelta(hours=22)
    by_hour = Counter(row.started_at.replace(minute=0, second=0, microsecond=0) for row in rows)
    hour = max((hour for hour in by_hour if hour >= first), key=by_hour.__getitem__)
    return hour, [row for row in rows if hour <= row.started_at < hour + timedelta(hours=1)]


def weeks_of(sample, monday):
    """Some of the same rows in the week before that day, and fewer in the one before; all that there is in each."""
    week = timedelta(weeks=1)
    for weeks, step in ((1, 4), (2, 7)):
        for number, row in enumerate(sample[::step]):
            at = monday - weeks * week + timedelta(minutes=number * 20)
            fields = {field.attname: getattr(row, field.attname) for field in Usage._meta.concrete_fields}
            Usage.objects.create(**fields | {"id": None, "request_id": f"week-{weeks}-{number}", "started_at": at})
    hours.rebuild(monday - 2 * week, monday)
    starts = (monday - week, monday - 2 * week)
    return [list(Usage.objects.filter(started_at__gte=start, started_at__lt=start + week)) for start in starts]


def since(rows, **ago):
    return [row for row in rows if row.started_at >= timezone.now() - timedelta(**ago)]


def test_largest_teams_of_last_month_are_found(walk, sample):
    this = timezone.now().replace(day=1, hour=0, minute=0, second=0, microsecond=0)
    last = (this - timedelta(days=1)).replace(day=1)
    keys = turns_by([row for row in sample if last <= row.started_at < this], lambda row: row.team and row.team.name)
    assert shown(walk("Last month"), "by-team") == {name or "no team": turns for name, turns in keys.items()}


def test_largest_teams_of_this_month_are_found(walk, sample):
    month = timezone.now().replace(day=1, hour=0, minute=0, second=0, microsecond=0)
    teams = turns_by([row for row in sample if row.started_at >= month], lambda row: row.team and row.team.name)
    told = shown(walk("Month"), "by-team")
    assert told == {name or "no team": turns for name, turns in teams.items()}
    assert list(told.values()) == sorted(told.values(), reverse=True)


def test_team_shows_last_week_and_the_one_before(walk, sample):
    today = timezone.now().replace(hour=0, minute=0, second=0, microsecond=0)
    last, before = weeks_of(sample, today - timedelta(days=today.weekday()))
    page = walk("Last week", "Ads")
    ads = Team.objects.get(name="Ads").pk
    turns, turns_before = (sums_of([row for row in week if row.team_id == ads])["turns"] for week in (last, before))
    assert 0 < turns_before < turns
    assert page.figures["Turns"] == f"{turns:,}"
    assert f"before: {turns_before:,}" in page.parts["Turns"]["change"][0]


def test_reasons_of_a_failing_model_are_found(walk, sample):
    page = walk("qwen3-max")
    rows = [row for row in since(sample, hours=24) if row.lingma_model == "qwen3-max" and row.reason]
    assert shown(page, "by-reason") == turns_by(rows, lambda row: row.reason)
    assert len(page.body("timeline-title")) > 20


def test_reasons_since_a_failing_hour_are_found(walk, sample):
    of_model = [row for row in sample if row.lingma_model == "qwen3-max"]
    hour, _ = whole_hour([row for row in of_model if row.status == "error"])
    left = [row for row in of_model if row.started_at >= hour]
    page = walk("qwen3-max", from_here_on(hour))
    assert shown(page, "by-reason") == turns_by([row for row in left if row.reason], lambda row: row.reason)
    assert page.figures["Turns"] == f"{sums_of(left)['turns']:,}"


def test_share_of_estimates_is_found(walk, sample):
    sums = sums_of(since(sample, hours=24))
    told = re.search(r"([\d.]+)\s%\s+of turns estimated", "".join(walk().text))[1]
    assert abs(float(told) - 100 * sums["estimated_turns"] / sums["counted_turns"]) < 1


def test_keys_that_a_limit_refused_yesterday_are_found(walk, sample):
    day = (timezone.now() - timedelta(days=1)).date()
    page = walk("Yesterday", "rpm")
    refused = [row for row in sample if row.reason == "rpm" and row.started_at.date() == day]
    assert refused
    assert shown(page, "by-key") == turns_by(refused, lambda row: row.api_key.name)


def test_first_token_times_stand_beside_those_before(walk):
    assert re.search(r"before: (≤\s)?[\d,]+ / (≥\s)?[\d,]+\sms", "".join(walk("24 hours").text))


def test_programs_that_people_use_are_found(walk, sample):
    assert shown(walk(), "by-client_app") == turns_by(
        since(sample, hours=24), lambda row: {"codex": "Codex"}.get(row.agent, row.agent)
    )


def test_idle_keys_are_found(walk):
    long_ago = timezone.now() - timedelta(days=61)
    ApiKey.objects.filter(name="caller 2").update(created_at=long_ago, last_used_at=None)
    assert "caller 2" in "".join(walk().text).partition("Live keys without a turn")[2]


def test_turns_of_a_key_by_hour_are_found(walk, sample):
    hour, rows = whole_hour([row for row in sample if row.api_key.name == "caller 1"])
    page = walk("caller 1", bar_of(hour))
    told = [(row[0], row[1]) for row in page.body("rows-title")]
    times = sorted((row.started_at for row in rows), reverse=True)
    assert told == [(f"{at:%Y-%m-%d %H:%M:%S}", "caller 1") for at in times]
