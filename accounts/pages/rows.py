"""Usage rows in pages: which come next is said by the last one, so that a deep page costs what the first does."""

from __future__ import annotations

from dataclasses import dataclass, replace
from datetime import UTC, datetime
from typing import Any, Final

from django.db.models import Q, QuerySet
from django.utils import timezone

from accounts.ledger.filing import ORPHANED
from accounts.models import OUTCOME_COLOURS, ApiKey, Team, Usage, are_tokens_known
from accounts.pages.markup import shortened
from accounts.pages.query import iso
from accounts.reports.filters import Filters
from accounts.reports.period import Span
from accounts.reports.summary import latest
from accounts.reports.visibility import Visibility
from accounts.reports.words import UNKNOWN, ms, tokens_of
from gateway_project.lib.visible import visible

PAGE: Final = 50
LONGEST: Final = 48


@dataclass(frozen=True, kw_only=True)
class Row:
    """A turn as tables show it."""

    request_id: str
    time: str
    key: str
    model: str
    lingma_model: str
    program: str
    outcome: str
    tone: str
    first: str
    total: str
    tokens: str

    @property
    def short_key(self) -> str:
        return shortened(self.key, LONGEST)

    @property
    def short_model(self) -> str:
        return shortened(self.model, LONGEST)

    @property
    def short_outcome(self) -> str:
        return shortened(self.outcome, LONGEST)


@dataclass(frozen=True, kw_only=True)
class Page:
    """`after` is what the address of the next page says; "" on the last."""

    rows: list[Row]
    after: str


def page_of(filters: Filters, visibility: Visibility, after: str = "") -> Page:
    """The latest rows, or those that follow what `after` says."""
    turns = _older(filters, visibility, after)
    # One more than a page was read, which says that there is a next one.
    last = turns[PAGE - 1] if len(turns) > PAGE else None
    after = f"{iso(last.started_at)}_{last.pk}" if last else ""
    return Page(rows=[row_of(turn) for turn in turns[:PAGE]], after=after)


def _older(filters: Filters, visibility: Visibility, after: str) -> list[Usage]:
    """What comes after a row, the first one more than a page; from the latest on for a text that names none."""
    at, _, pk = after.partition("_")
    try:
        time = datetime.fromisoformat(at).astimezone(UTC)
    except (ValueError, OverflowError):
        time = None
    if time is None or not pk.isdecimal() or len(pk) > 18:
        return latest(filters, visibility, PAGE + 1)
    start, end = filters.span
    if start is not None and time < start:
        return []
    if end is not None and end <= time:
        return latest(filters, visibility, PAGE + 1)
    # Among rows of the same moment the number decides.
    same = filters.condition & visibility.condition & Q(started_at=time, pk__lt=int(pk))
    found = list(Usage.objects.filter(same).order_by("-pk").select_related("api_key")[: PAGE + 1])
    return found + latest(replace(filters, span=Span(start, time)), visibility, PAGE + 1 - len(found))


def row_of(turn: Usage) -> Row:
    """With its key, which should have been read along: else each row asks for its own."""
    return Row(
        request_id=turn.request_id,
        time=f"{timezone.localtime(turn.started_at):%Y-%m-%d %H:%M:%S}",
        key=visible(turn.api_key.name) if turn.api_key else UNKNOWN,
        model=visible(turn.model) or UNKNOWN,
        lingma_model=visible(turn.lingma_model),
        program=str(turn.get_agent_display()) or UNKNOWN,
        outcome=visible(turn.outcome),
        tone=OUTCOME_COLOURS[turn.status],
        first=ms(turn.first_token_ms),
        total=ms(None if turn.reason == ORPHANED else turn.total_ms),  # nobody knows how long it ran
        tokens=tokens_of(turn),
    )


EXPORTED: Final = (
    "request_id", "started_at", "team", "team_id", "key", "key_id", "protocol", "endpoint", "model", "lingma_model",
    "client_app", "client", "instance", "session", "stream", "status", "reason", "count", "queue_ms", "first_token_ms",
    "total_ms", "prompt_tokens", "completion_tokens", "usage_source", "tools", "trace_id", "allowed", "value",
    "retry_after", "limit_scope",
)  # fmt: skip
"""The columns of an export; names are those of the filters where there is one."""
SOURCES: Final = {"key_id": "api_key_id", "client_app": "agent"}
_READ: Final = tuple(SOURCES.get(name, name) for name in EXPORTED if name not in ("team", "key"))


class Exported:
    """Reads rows for an export, a page at a time, with the names of keys and teams."""

    PAGE: Final = 2_000

    def __init__(self, found: QuerySet[Usage]) -> None:
        self._found = found.order_by("-started_at", "-id")
        self._after: tuple[datetime, int] | None = None
        self._names: dict[tuple[str, int], str] = {}

    def read(self) -> list[dict[str, Any]]:
        """The next page; empty at the end."""
        found = self._found
        if self._after is not None:
            at, pk = self._after
            # The first condition alone says where in the index to begin, which neither of the others does.
            found = found.filter(Q(started_at__lte=at) & (Q(started_at__lt=at) | Q(pk__lt=pk)))
        read = list(found.values("pk", *_READ)[: self.PAGE])
        if read:
            self._after = read[-1]["started_at"], read[-1]["pk"]
        self._learn("key", ApiKey, {row["api_key_id"] for row in read})
        self._learn("team", Team, {row["team_id"] for row in read})
        return [self._exported(row) for row in read]

    def _learn(self, kind: str, model: Any, ids: set[int | None]) -> None:
        wanted = [pk for pk in ids if pk is not None and (kind, pk) not in self._names]
        if wanted:
            for pk, name in model.objects.filter(pk__in=wanted).values_list("pk", "name"):
                self._names[kind, pk] = name

    def _exported(self, row: dict[str, Any]) -> dict[str, Any]:
        named = {
            **row, "key": self._names.get(("key", row["api_key_id"])),
            "team": self._names.get(("team", row["team_id"])), "started_at": iso(row["started_at"]),
        }  # fmt: skip
        if not are_tokens_known(row["status"], row["instance"], row["usage_source"]):
            named.update(prompt_tokens=None, completion_tokens=None)
        return {name: named[SOURCES.get(name, name)] for name in EXPORTED}
