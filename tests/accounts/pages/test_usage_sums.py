"""Whatever the usage page says is a sum over the turns that a seed made, and leads to just these, for 30 filters.

Figures, bars, latency, tables, cells, rows and exports, as they come without scripts. With them, charts are drawn of
the table that is read here.
"""

import csv
import html
import io
import json
import random
import re
from dataclasses import dataclass
from datetime import datetime, time, timedelta
from functools import cached_property
from zoneinfo import ZoneInfo

import pytest
from django.contrib.auth.models import User
from django.utils import timezone

from accounts.demo.cast import TEAMS, keys_of
from accounts.demo.seeding import write
from accounts.demo.turns import turns as generated
from accounts.models import ApiKey, Team, Usage
from accounts.pages.rows import EXPORTED
from accounts.reports.words import change, share, short
from tests.accounts.pages.reading import Page
from tests.accounts.pages.usage_turns import GUESSES, HOUR, Turn, Turns, firsts, iso, within
from tests.accounts.reports.sample import random_filters, sums_of, without

pytestmark = pytest.mark.django_db
SEED, ROWS = 11, 1_000
# Days of the second do not begin with an hour of UTC, those of the third have 25 hours once a year.
ZONES = [ZoneInfo(name) for name in ("Asia/Shanghai", "Asia/Kolkata", "America/New_York")]
HOURLY, MICROSECOND = timedelta(days=3), timedelta(microseconds=1)
STATUSES = ("ok", "error", "refused", "cancelled")
GROUPS = {
    "team": lambda turn: turn.team or "no team", "key": lambda turn: turn.key_name,
    "lingma_model": lambda turn: turn.lingma_model or "none (refused before)",
    "client_app": lambda turn: str(dict(Usage.Agent.choices)[turn.agent]), "reason": lambda turn: turn.reason,
}  # fmt: skip


@pytest.fixture(scope="module")
def end():
    return timezone.now().replace(minute=0, second=0, microsecond=0)


@pytest.fixture(scope="module")
def turns(shared_rows, end):
    cast = keys_of(SEED, ROWS)
    made = list(generated(SEED, ROWS, cast, end))
    write(SEED, ROWS, end)
    keys, teams = (dict(model.objects.values_list("name", "pk")) for model in (ApiKey, Team))
    for turn in made:
        key = cast[turn.pop("key")]
        team = "" if key.team is None else TEAMS[key.team]
        turn |= {"key_name": key.name, "api_key_id": keys[key.name], "team": team, "team_id": teams.get(team)}
    return Turns([Turn(**turn) for turn in made])


@pytest.fixture
def viewer(client):
    client.force_login(User.objects.create_superuser("viewer"))
    return client


@dataclass
class Look:
    """What was asked for, what it leaves, and the page."""

    given: dict
    zone: ZoneInfo
    turns: Turns
    end: datetime
    page: Page

    @cached_property
    def span(self):
        return [datetime.fromisoformat(self.given[name][0]) for name in ("from", "to")]

    @cached_property
    def left(self):
        return self.turns.left_by(self.given, self.zone)

    @cached_property
    def latest(self):
        return [turn for turn in reversed(self.turns.all) if turn in self.left]

    @property
    def before(self):
        start, end = self.span
        times = {"from": [(start - (end - start)).isoformat()], "to": [start.isoformat()]}
        return self.turns.left_by(self.given | times, self.zone)

    def check_link(self, href, turns):
        assert self.turns.behind(href, self.zone) == set(turns), href


def query_of(random_, turns, end):
    """Filters that fit some turn, mostly, beside others that may not."""
    start = end - timedelta(hours=random_.choice([30, 71, 300, 900, 1_440]), minutes=random_.randrange(60))
    stop = random_.choice([end, end - (end - start) / 5])
    turn = random_.choice([turn for turn in turns.all if start <= turn.started_at < stop] or turns.all)
    asked, more = random_filters(random_, [turn]), random_filters(random_, turns.all)
    given = {name: values + more.get(name, []) for name, values in asked.items() if name != "range"}
    given = without(given, random_) if random_.random() < 0.2 else given
    given |= {"outcome": [turn.outcome]} if turn.outcome else {}
    return given | {"from": [start.isoformat()], "to": [stop.isoformat()]}


@pytest.mark.parametrize("seed", range(30))
def test_every_number_is_a_sum_of_turns(viewer, turns, end, seed, exported):
    random_, zone = random.Random(seed), ZONES[seed % len(ZONES)]
    given = query_of(random_, turns, end)
    viewer.cookies["lgw_zone"] = zone.key
    look = Look(given, zone, turns, end, Page(viewer.get("/usage/", given)))
    if look.left:
        check_figures(look)
        check_timeline(look)
        check_tables(look)
        check_heat(look)
        check_rows(look, look.page.body("latest-title"), look.page.hrefs["latest-title"])
    else:
        assert "No turn matches these filters" in "".join(look.page.text)
    check_sums_of_rows(look, viewer.get("/usage/rows/", given))
    form = ("csv", "json")[seed % 2]
    check_export(look, form, exported(viewer, f"/usage/export.{form}", given))


def check_figures(look):
    now, before = figures_of(look.left), figures_of(look.before)
    failed, away = ({turn for turn in look.left if turn.outcome == each} for each in ("failed", "turned_away"))
    guessed = {turn for turn in look.left if turn.usage_source in GUESSES}
    reused = {turn for turn in look.left if turn.session == "reused"}
    behind = {name: {"value": look.left} for name in now} | {
        "Turns": {"value": look.left, "small": away}, "Failed": {"value": failed, "small": failed},
        "Tokens in / out": {"value": look.left, "small": guessed},
        "Sessions reused": {"value": reused, "small": reused},
    }  # fmt: skip
    assert {name: {part: words for part, (words, _) in parts.items()} for name, parts in look.page.parts.items()} == {
        name: parts | {"change": changed(name, parts["value"], before[name]["value"])} for name, parts in now.items()
    }
    for name, parts in look.page.parts.items():
        for part, (_, href) in parts.items():
            if href or behind[name].get(part):
                look.check_link(href, behind[name][part])


def figures_of(turns):
    """{figure: {part: words}} of any turns."""
    sums, waits, first = sums_of(turns), [turn.queue_ms for turn in turns], firsts(turns)
    known = sums["counted_turns"]
    tokens = f"{short(sums['prompt_tokens'])} / {short(sums['completion_tokens'])}" if known else "–"
    mark = "≈\N{NO-BREAK SPACE}" if sums["estimated_turns"] else ""
    served = sums["turns"] - sums["refused"]
    return {
        "Turns": {"value": f"{sums['turns']:,}", "small": f"{sums['turned_away']:,} turned away"},
        "Failed": {"value": share(sums["faults"], sums["turns"]), "small": in_words(sums["faults"])},
        "Tokens in / out": {
            "value": f"{mark}{tokens}", "small": f"{share(sums['estimated_turns'], known)} of turns estimated",
        },
        "First token p50 / p95": {
            "value": f"{in_share_ms(within(first, 0.5))[:-3]} / {in_share_ms(within(first, 0.95))}" if first else "–",
        },
        "Sessions reused": {
            "value": share(sums["sessions_reused"], served), "small": in_words(sums["sessions_reused"]),
        },
        "Queue p95": {
            "value": in_share_ms(within(waits, 0.95)),
            **({"small": "with those turned away"} if sums["turned_away"] else {}),
        },
    }  # fmt: skip


def changed(name, now, before):
    if name != "Turns" or before == "0":
        return f"before: {before}"
    return f"{change(int(now.replace(',', '')), int(before.replace(',', '')))}, before: {before}"


def in_words(turns):
    return f"{turns:,} turn{'s' * (turns != 1)}"


def in_ms(ms):
    return "–" if ms is None else f"{ms:,}\N{NO-BREAK SPACE}ms"


def in_share_ms(ms):
    if ms is not None and ms >= 60_000:
        return "≥\N{NO-BREAK SPACE}60,000\N{NO-BREAK SPACE}ms"
    return "≤\N{NO-BREAK SPACE}25\N{NO-BREAK SPACE}ms" if ms is not None and ms <= 25 else in_ms(ms)


def check_timeline(look):
    """The table, and the pictures that say the same."""
    rows, hrefs = look.page.body("timeline-title"), look.page.hrefs["timeline-title"][1:]
    found = buckets_of(look)
    assert [row[0] for row in rows] == [name for name, _ in found]
    most = max(sums_of(turns)["turns"] for _, turns in found)
    check_starts(look, [links[0] for links in hrefs])
    for row, links, (name, turns), (href, title, pieces) in zip(rows, hrefs, found, look.page.bars, strict=True):
        sums = sums_of(turns)
        counts = [sums["ok"], sums["failed"], sums["refused"], sums["cancelled"]]
        times = [in_share_ms(within(firsts(turns), part)) for part in (0.5, 0.95)]
        assert row[1:] == plain([f"{sums['turns']:,}", *(f"{count:,}" for count in counts), *tokens_of(sums), *times])
        look.check_link(href, turns)
        look.check_link(links[1], turns)
        for status, link, words in zip(STATUSES, links[2:6], row[2:6], strict=True):
            assert bool(link) == (words != "0")
            if link:
                look.check_link(link, {turn for turn in turns if turn.status == status})
        assert [link for link, words in zip(links[6:], row[6:], strict=True) if words not in ("0", "–")] == [
            href for words in row[6:] if words not in ("0", "–")
        ]
        assert title == f"{name}: {sums['turns']:,}"
        shown = {"bar-ok": counts[0], "bar-failed": counts[1], "bar-refused": counts[2], "bar-cancelled": counts[3]}
        assert pieces == {status: f"{200 * count / most:.2f}" for status, count in shown.items() if count}
    check_lines(look, [firsts(turns) for _, turns in found])


def check_starts(look, hrefs):
    """Each bar leads to the page from then on; below the bars some of them do so, too."""
    for href, at in zip(hrefs, times_of(look), strict=True):
        assert href.startswith("/usage/?")
        look.check_link(href, {turn for turn in look.left if turn.started_at >= at})
    step = -(-len(hrefs) // 25)
    assert [href for _, href in look.page.links if href in hrefs] == [*hrefs[::step], *hrefs]


def check_lines(look, times):
    tops = [within(each, 0.95) for each in times]
    if not (most := max((top for top in tops if top), default=0)):
        assert look.page.lines == {}
        return
    for name, part in (("line-p50", 0.5), ("line-p95", 0.95)):
        heights = [point.partition(",")[2] for points in look.page.lines[name] for point in points.split()]
        wanted = [f"{200 - 200 * ms / most:.1f}" for each in times if (ms := within(each, part)) is not None]
        assert heights == [height for height in wanted for _ in range(2)]


def buckets_of(look):
    """[(name, turns)] of the bars: hours of UTC, or days of the reader."""
    times = times_of(look)
    if is_hourly(look):
        by = grouped(look.left, lambda turn: turn.hour)
        return [(f"{at.astimezone(look.zone):%Y-%m-%d %H:%M}", by.get(at, set())) for at in times]
    by = grouped(look.left, lambda turn: turn.started_at.astimezone(look.zone).date())
    return [(at.date().isoformat(), by.get(at.date(), set())) for at in times]


def times_of(look):
    """When the bars begin."""
    start, end = look.span
    if is_hourly(look):
        first = start.replace(minute=0, second=0, microsecond=0)
        return [first + hour * HOUR for hour in range(80) if first + hour * HOUR < end]
    first, last = start.astimezone(look.zone).date(), (end - MICROSECOND).astimezone(look.zone).date()
    every = [first + timedelta(days=day) for day in range((last - first).days + 1)]
    return [datetime.combine(day, time(), look.zone) for day in every]


def is_hourly(look):
    start, end = look.span
    return end - start <= HOURLY


def grouped(turns, name_of):
    found = {}
    for turn in turns:
        found.setdefault(name_of(turn), set()).add(turn)
    return found


def tokens_of(sums, form="{:,}".format):
    if not sums["counted_turns"]:
        return ["–", "–"]
    mark = "≈\N{NO-BREAK SPACE}" if sums["estimated_turns"] else ""
    return [f"{mark}{form(sums[name])}" for name in ("prompt_tokens", "completion_tokens")]


def plain(texts):
    """As cells are read: with plain blanks."""
    return [" ".join(text.split()) for text in texts]


def check_tables(look):
    for name, label in GROUPS.items():
        groups = grouped(look.left, label)
        if name == "reason":
            groups.pop("", None)  # what went well has none
        of_table = sums_of([turn for turns in groups.values() for turn in turns])
        full = {cut(words, 64): turns for words, turns in groups.items()}
        rows, hrefs = look.page.body(f"by-{name}"), look.page.hrefs.get(f"by-{name}", [[]])[1:]
        assert sorted(row[0] for row in rows) == sorted(full)
        counts = []
        for row, links, bar in zip(rows, hrefs, look.page.shares.get(f"by-{name}", []), strict=True):
            sums = sums_of(turns := full[row[0]])
            counts.append(sums["turns"])
            assert row[1:] == plain(cells_of(sums, of_table))
            assert bar == f"{100 * sums['turns'] / of_table['turns']:.1f}"
            check_cells(look, links, row[1:], turns)
        assert counts == sorted(counts, reverse=True)


def cells_of(sums, whole):
    busy = f"{sums['busy_ms'] / 1000:,.0f} s · {share(sums['busy_ms'], whole['busy_ms'])}" if sums["busy_ms"] else "0"
    counts = [f"{sums[name]:,}" for name in ("turns", "faults", "turned_away")]
    return [*counts, *tokens_of(sums, short), busy]


def check_cells(look, links, words, turns):
    named, *links = links
    look.check_link(named, turns)
    for place, (link, text) in enumerate(zip(links, words, strict=True)):
        assert bool(link) == (text not in ("0", "–")), words
        if link:
            outcome = {1: "failed", 2: "turned_away"}.get(place)
            look.check_link(link, {turn for turn in turns if outcome in (None, turn.outcome)})


def cut(text, most):
    return text if len(text) <= most else f"{text[: most - 1]}…"


def check_heat(look):
    """Seven days of 24 cells, by the hour in which an hour of UTC begins for the reader."""
    if len({turn.hour for turn in look.left}) < 2:
        assert "heat-title" not in look.page.tables
        return
    by = grouped(look.left, lambda turn: place_of(turn.hour.astimezone(look.zone)))
    rows, hrefs = look.page.body("heat-title"), look.page.hrefs["heat-title"][1:]
    for weekday, (row, links) in enumerate(zip(rows, hrefs, strict=True)):
        cells = [by.get((weekday, hour), set()) for hour in range(24)]
        assert row[1:] == plain(short(sums_of(turns)["turns"]) if turns else "" for turns in cells)
        for link, turns in zip(links[1:], cells, strict=True):
            assert bool(link) == bool(turns)
            if link:
                look.check_link(link, turns)


def place_of(at):
    return at.weekday(), at.hour


def check_rows(look, rows, hrefs):
    """The latest fifty, whatever table they are in."""
    latest = look.latest[:50]
    assert rows == [plain(row_of(turn, look.zone)) for turn in latest]
    assert [links[0] for links in hrefs[1:]] == [f"/usage/r/{turn.request_id}" for turn in latest]


def row_of(turn, zone):
    reason = f": {turn.reason}" if turn.reason and turn.status != "ok" else ""
    mark = "≈ " if turn.usage_source in GUESSES else ""
    tokens = f"{mark}{turn.prompt_tokens:,} / {turn.completion_tokens:,}" if turn.tokens_known else "–"
    return [
        f"{turn.started_at.astimezone(zone):%Y-%m-%d %H:%M:%S}", cut(turn.key_name, 48), turn.model,
        GROUPS["client_app"](turn), f"{turn.status}{reason}{f' × {turn.count:,}' * (turn.count > 1)}",
        in_ms(turn.first_token_ms), in_ms(turn.total_ms), tokens,
    ]  # fmt: skip


def check_sums_of_rows(look, response):
    page, sums = Page(response), sums_of(look.left)
    told = " ".join("".join(page.text).split())
    assert f"Turns in all: {sums['turns']:,}." in told
    named = re.findall(
        r'<dt>(.*?)</dt><dd>(?:<a href="(.*?)">)?(.*?)(?:</a>)?</dd>', html.unescape(response.content.decode())
    )
    check_outcomes_of_rows(look, named)
    assert plain(f"{name} {value}" for name, _, value in named) == plain(
        [
            f"Failed {sums['faults']:,}", f"Turned away {sums['turned_away']:,}",
            *(f"Tokens {way} {tokens}" for way, tokens in zip(("in", "out"), tokens_of(sums), strict=True)),
            f"Busy {sums['busy_ms'] / 1000:,.0f} s",
        ]
    )  # fmt: skip
    check_rows(look, page.body("rows-title"), page.hrefs.get("rows-title", []))


def check_outcomes_of_rows(look, named):
    """What sums some of the rows leads to these; what sums all of them stands where they are."""
    for name, href, value in named:
        outcome = {"Failed": "failed", "Turned away": "turned_away"}.get(name)
        assert bool(href) == bool(outcome and value != "0"), name
        if href:
            look.check_link(href, {turn for turn in look.left if turn.outcome == outcome})


def check_export(look, form, told):
    """Every column of every turn, the latest first."""
    if form == "json":
        assert json.loads(told) == [exported_of(turn) for turn in look.latest]
        return
    rows = [{name: cell_of(value) for name, value in exported_of(turn).items()} for turn in look.latest]
    assert list(csv.DictReader(io.StringIO(told))) == rows


def cell_of(value):
    return "" if value is None else str(value).lower() if isinstance(value, bool) else str(value)


def exported_of(turn):
    named = {
        "team": turn.team or None, "key": turn.key_name, "key_id": turn.api_key_id, "client_app": turn.agent,
        "started_at": iso(turn.started_at), "tools": "", "trace_id": "", "limit_scope": "",
    }  # fmt: skip
    named |= {} if turn.tokens_known else {"prompt_tokens": None, "completion_tokens": None}
    return {name: named[name] if name in named else getattr(turn, name) for name in EXPORTED}
