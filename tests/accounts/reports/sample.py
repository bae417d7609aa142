"""Usage with known sums: rows, their hours, and a sum of them in plain Python."""

import hashlib
import random
from bisect import bisect_left
from datetime import UTC, datetime, timedelta

from accounts.ledger import totals
from accounts.models import ApiKey, Team, Usage, UsageHour, UsageTotal
from accounts.models.hour import BOUNDS_MS, DIMENSIONS

NOW = datetime(2026, 11, 28, 14, 20, 30, 500_000, tzinfo=UTC)
OUTCOMES = [
    *[("ok", "")] * 12, ("error", "upstream"), ("error", "timeout"), ("error", "invalid_request"), ("cancelled", ""),
    ("cancelled", "client"), ("refused", "rpm"), ("refused", "tokens_day"), ("refused", "unavailable"),
]  # fmt: skip
MODELS = {
    "claude-sonnet-4-5": "dashscope_qwen3_coder",
    "org_auto": "org_auto",
    "gpt-5": "qwen3-max",
    "通义": "qwen3-max",
}
OURS = ("unavailable", "overloaded", "upstream", "timeout", "internal")
THEIRS = (
    "invalid_request", "content_filter", "context_full", "too_large", "authentication", "not_found", "revoked",
    "expired", "unknown", "slow_client",
)  # fmt: skip


COLUMN = {"team": "team_id", "key": "api_key_id", "client_app": "agent", "source": "usage_source"}


FIRST_ID = 1_000_000  # beyond those that a database gives: a test may add rows of its own


def make(now=NOW):
    """Three teams with two keys each and a key without; 1,500 rows until `now`. Returns the rows.

    It takes a second: a module makes them once, in a fixture of its own that uses `shared_rows`.
    """
    _insert(now)
    return list(Usage.objects.select_related("api_key", "team"))  # whose names tests ask for, row by row


def forget():
    """Leave nothing of it, for a test of a new installation in such a module."""
    for each in (Usage, UsageHour, UsageTotal, ApiKey, Team):
        each.objects.all().delete()


def _insert(now, rows=1500, seed=1, days=3):
    random_ = random.Random(seed)
    names = ("Ads", "Search", "Maps")
    teams = [Team(pk=FIRST_ID + number, name=name) for number, name in enumerate(names)]
    Team.objects.bulk_create(teams)
    keys = [
        ApiKey(pk=FIRST_ID + number, name=f"caller {number}", team=team, hint="lgw_", digest=f"{number:064}")
        for number, team in enumerate([team for team in teams for _ in range(2)] + [None])
    ]
    ApiKey.objects.bulk_create(keys)
    made = [
        _row(random_, number, random_.choice(keys), now - timedelta(seconds=random_.randrange(days * 86_400)))
        for number in range(rows)
    ]
    Usage.objects.bulk_create(made)
    UsageHour.objects.bulk_create(hours_of(made))
    totals.rebuild(now - timedelta(days=days), now)


def _row(random_, number, key, started_at):
    status, reason = random_.choice(OUTCOMES)
    refused = status == "refused"
    model = random_.choice(list(MODELS))
    guess = "estimate" if status == "ok" else "partial"
    queue_ms = 0 if refused else random_.choice([0, 0, 3, 25, 26, 400, 61_000])
    first = None if refused or status == "error" else queue_ms + random_.randrange(20, 4_000)
    return Usage(
        pk=FIRST_ID + number, request_id=f"{number:032x}", api_key=key, team_id=key.team_id,
        protocol=random_.choice(["openai", "anthropic"]),
        endpoint=random_.choice(["/v1/chat/completions", "/v1/messages"]), model=model, lingma_model=MODELS[model],
        instance="" if refused else random_.choice(["w1-i1", "w1-i2"]), stream=True, status=status, reason=reason,
        session="" if refused else random_.choice(["new", "reused", "rebuilt", "off"]), queue_ms=queue_ms,
        first_token_ms=first, total_ms=(first or queue_ms) + random_.randrange(9_000),
        prompt_tokens=0 if refused else random_.randrange(5_000),
        completion_tokens=0 if refused else random_.randrange(900),
        usage_source="" if refused else random_.choice(["upstream", "upstream", guess]),
        agent=random_.choice(["codex", "curl", "other"]), count=random_.randrange(1, 9) if refused else 1,
        started_at=started_at,
    )  # fmt: skip


def hours_of(rows):
    hours = {}
    for row in rows:
        hour = row.started_at.replace(minute=0, second=0, microsecond=0)
        values = (hour, *(getattr(row, name) for name in DIMENSIONS[1:]))
        digest = hashlib.md5(repr(values).encode(), usedforsecurity=False).hexdigest()
        sums = hours.setdefault(digest, UsageHour(digest=digest, **dict(zip(DIMENSIONS, values, strict=True))))
        sums.turns += row.count
        sums.prompt_tokens += row.prompt_tokens
        sums.completion_tokens += row.completion_tokens
        sums.busy_ms += row.total_ms - row.queue_ms if row.instance else 0
        sums.queue_ms += row.queue_ms
        sums.reused += row.session == "reused"
        for name in ("first_token", "queue", "total"):
            if (ms := getattr(row, f"{name}_ms")) is not None:
                column = f"{name}_{bisect_left(BOUNDS_MS, ms)}"
                setattr(sums, column, getattr(sums, column) + 1)
    return hours.values()


def sums_of(rows):
    """What `Sums` has, computed in plain Python."""
    times = [row.count for row in rows]
    ours = [row for row in rows if row.reason in OURS and row.status == "refused"]
    ours += [row for row in rows if row.status == "error" and row.reason not in THEIRS]
    failures = sum(row.count for row in rows if row.status in ("error", "refused"))
    faults = sum(row.count for row in ours)
    return {
        "turns": sum(times),
        "failed": sum(row.count for row in rows if row.status == "error"),
        "refused": sum(row.count for row in rows if row.status == "refused"),
        "cancelled": sum(row.count for row in rows if row.status == "cancelled"),
        "ok": sum(row.count for row in rows if row.status == "ok"),
        "faults": faults,
        "turned_away": failures - faults,
        "prompt_tokens": sum(row.prompt_tokens for row in rows),
        "completion_tokens": sum(row.completion_tokens for row in rows),
        "estimated_turns": sum(row.count for row in rows if row.usage_source in ("estimate", "partial")),
        "counted_turns": sum(row.count for row in rows if row.usage_source),
        "busy_ms": sum(row.total_ms - row.queue_ms for row in rows if row.instance),
        "sessions_reused": sum(row.session == "reused" for row in rows),
        "first_token": _histogram([row.first_token_ms for row in rows if row.first_token_ms is not None]),
        "queue": _histogram([row.queue_ms for row in rows]),
    }


def _histogram(times):
    counts = [0] * (len(BOUNDS_MS) + 1)
    for ms in times:
        counts[bisect_left(BOUNDS_MS, ms)] += 1
    return counts


def random_filters(random_, rows):
    """A query of one to four filters, each with values that some row has."""
    given = {}
    names = ["team", "key", "model", "lingma_model", "protocol", "endpoint", "client_app", "status", "reason",
             "instance", "session", "source"]  # fmt: skip
    for name in random_.sample(names, random_.randrange(4)):
        found = [getattr(random_.choice(rows), COLUMN.get(name, name)) for _ in range(random_.randrange(1, 3))]
        given[name] = [str(value) if value not in (None, "") else "none" for value in found]
    match random_.randrange(4):
        case 0:
            given["range"] = [random_.choice(["1h", "24h", "7d", "month"])]
        case 1:
            given["from"] = [(NOW - timedelta(minutes=random_.randrange(5_000))).isoformat()]
        case 2:
            start = NOW - timedelta(seconds=random_.randrange(200_000))
            end = start + timedelta(seconds=random_.choice([60, 1_500, 3_600, 50_000]))
            given |= {"from": [start.isoformat()], "to": [end.isoformat()]}
    return given


def left_by(given, filters, rows):
    """The rows that a query leaves, in plain Python."""
    start, end = filters.span
    left = [row for row in rows if (start is None or row.started_at >= start) and (end is None or row.started_at < end)]
    for name, values in given.items():
        if name in ("from", "to", "range"):
            continue
        wanted, unwanted = ([each.lstrip("!") for each in values if (each[0] == "!") is no] for no in (False, True))
        texts = {row: str(getattr(row, COLUMN.get(name, name)) or "") or "none" for row in left}
        left = [row for row in left if texts[row] not in unwanted and (not wanted or texts[row] in wanted)]
    return left


def without(given, random_):
    """The same with a ! in front of some values."""
    return {
        name: values if name in ("from", "to", "range") else [f"{random_.choice(['', '!'])}{each}" for each in values]
        for name, values in given.items()
    }
