"""One sentence for each way a request can end, and what to do about it."""

from __future__ import annotations

import math
from typing import Final, NamedTuple, Protocol

from gateway_project.lib.texts import Text, gettext_noop


class Ended(Protocol):
    """A row of usage: a `UsageRow` or a `Usage`."""

    status: str
    reason: str
    model: str
    client: str
    total_ms: int
    first_token_ms: int | None
    limit_scope: str
    allowed: int | None
    value: int | None
    count: int
    retry_after: int | None


class Verdict(NamedTuple):
    """`advice` may be empty. Both are English; pages translate them."""

    sentence: Text
    advice: Text


NONE: Final = Text("")

LIMITS: Final = {
    "rpm": gettext_noop("requests per minute"),
    "tpm": gettext_noop("tokens per minute"),
    "concurrency": gettext_noop("turns at once"),
    "requests_day": gettext_noop("requests per day"),
    "requests_week": gettext_noop("requests per week"),
    "requests_month": gettext_noop("requests per month"),
    "tokens_day": gettext_noop("tokens per day"),
    "tokens_week": gettext_noop("tokens per week"),
    "tokens_month": gettext_noop("tokens per month"),
}
OF_KEY: Final = gettext_noop("The limit of the key is reached: %(limit)s, %(used)s of %(allowed)s.")
OF_TEAM: Final = gettext_noop("The limit of the team is reached: %(limit)s, %(used)s of %(allowed)s.")
UP_TO: Final = gettext_noop("up to %(used)s")
UNSIZED: Final = gettext_noop("A limit of the key is reached: %(limit)s.")

GOOD: Final = {
    "stop": gettext_noop("Answered in full in %(total)s."),
    "stop_sequence": gettext_noop("Answered in %(total)s, up to a stop sequence of the request."),
    "length": gettext_noop("Answered in %(total)s, but the answer was cut: it had reached its greatest length."),
    "tool_calls": gettext_noop("Answered in %(total)s with calls of tools."),
    "content_filter": gettext_noop("Answered in %(total)s, but a content filter cut the answer."),
}
ANSWERED: Final = gettext_noop("Answered in %(total)s.")
LEFT_EARLY: Final = gettext_noop("The client hung up after %(total)s, before any text had come.")
LEFT: Final = gettext_noop("The client hung up after %(total)s, before the answer was complete.")
OTHER: Final = gettext_noop("It ended for the reason %(reason)s.")
OTHER_REFUSAL: Final = gettext_noop("It was refused for the reason %(reason)s.")

AGAIN: Final = gettext_noop("It could be tried again %(seconds)s s later.")
MUCH_LATER: Final = gettext_noop("It could be tried again %(time)s later.")
REPEAT: Final = gettext_noop("Send it again.")
ASK: Final = gettext_noop("Ask an operator.")
CORRECT: Final = gettext_noop("Correct the request; sent again as it is, it will be refused again.")
SHORTEN: Final = gettext_noop("Shorten the conversation, or begin a new one.")
ACCOUNT: Final = gettext_noop("An operator has to look at the account that the instance is logged in with.")
INSTANCES: Final = gettext_noop("Send it again later; operators see the instances in the console.")
LOG: Final = gettext_noop("Operators find more in the log of the gateway, under the request's id.")

REASONS: Final[dict[str, tuple[str, str]]] = {
    # What a key may do.
    "no_key": (
        gettext_noop("The request had no API key."),
        gettext_noop("Send it in the header Authorization: Bearer, or x-api-key."),
    ),
    "unknown_key": (
        gettext_noop("The API key of the request is none of this gateway."),
        gettext_noop("Look whether it was copied whole, and for this gateway."),
    ),
    "authentication": (gettext_noop("The request had no valid API key."), ASK),
    "revoked": (gettext_noop("The key is revoked."), gettext_noop("Ask an operator for another key.")),
    "expired": (gettext_noop("The key has expired."), gettext_noop("Ask an operator for more time, or another key.")),
    "paused": (gettext_noop("The key is paused."), gettext_noop("Ask an operator to resume it.")),
    "quarantined": (
        gettext_noop("The key is in quarantine."),
        gettext_noop("Ask an operator what was found; nobody else can lift it."),
    ),
    "rotated": (
        gettext_noop("The request had the old secret of a key that has a new one."),
        gettext_noop("Put the new secret in its place."),
    ),
    "network": (gettext_noop("The key may not be used from the address %(client)s."), ASK),
    "model": (
        gettext_noop("The key may not use the model %(model)s."),
        gettext_noop("Use a model that the key may use, or ask an operator."),
    ),
    "scope": (gettext_noop("The key has no right to this path."), ASK),
    "keys_unavailable": (gettext_noop("Keys could not be checked, as the database was away."), REPEAT),
    "too_many_unknown_keys": (gettext_noop("Too many unknown keys were being checked at once."), REPEAT),
    # What the request was.
    "invalid_request": (gettext_noop("The request was not what the API asks for."), CORRECT),
    "too_large": (gettext_noop("The request was larger than the gateway takes."), SHORTEN),
    "unsupported_encoding": (gettext_noop("The body came in an encoding that the gateway does not read."), CORRECT),
    "not_found": (gettext_noop("There is nothing under that path or name."), CORRECT),
    "method_not_allowed": (gettext_noop("The path does not take that method."), CORRECT),
    "content_filter": (
        gettext_noop("Lingma refused the content of the request."),
        gettext_noop("Put it differently, or begin a new conversation; sent again as it is, it will be refused again."),
    ),
    "context_full": (gettext_noop("The conversation was longer than the model can read."), SHORTEN),
    "crashing_prompt": (
        gettext_noop("Lingma exits when it is asked this, so it is not asked again for an hour."),
        gettext_noop("Change the request."),
    ),
    "crashing_prompts": (
        gettext_noop("Lingma has exited over several requests of this key, so none is asked for some minutes."),
        gettext_noop("Change what these requests have in common."),
    ),
    "cancelled": (gettext_noop("Another request of the same key cancelled it."), ""),
    "slow_client": (
        gettext_noop("The client read the answer too slowly, and was given up."),
        gettext_noop("Look at the network between the client and the gateway."),
    ),
    # What the gateway or Lingma could not do.
    "rate_limited": (gettext_noop("Too much was in work for this key at once, or Lingma limits its account."), REPEAT),
    "permission": (gettext_noop("The Lingma account may not do this, or its plan is used up."), ACCOUNT),
    "insufficient_quota": (
        gettext_noop("The plan of the Lingma account was used up, or it had none."),
        gettext_noop("Have the plan renewed, or give the instance another login."),
    ),
    "overloaded": (gettext_noop("All places were taken, and the queue was full or the wait too long."), INSTANCES),
    "unavailable": (gettext_noop("No Lingma instance was ready."), INSTANCES),
    "logged_out": (
        gettext_noop("The Lingma instance was logged out while it answered."),
        gettext_noop("Send it again later; if the login does not come back by itself, an operator has to log in."),
    ),
    "upstream": (gettext_noop("Lingma failed the turn."), REPEAT),
    "timeout": (gettext_noop("Lingma was silent for too long."), REPEAT),
    "internal": (gettext_noop("The gateway failed."), LOG),
    "orphaned": (
        gettext_noop("The process of the gateway that ran the turn ended; how far the turn came is not known."),
        REPEAT,
    ),
}
# The status of a key (`KeyStatus`) for the same; `bridge/http/api` writes `unknown_key` in its place.
REASONS["unknown"] = REASONS["unknown_key"]
BY_LINGMA: Final = gettext_noop("Lingma limits how much its account may ask.")
MODELS: Final = gettext_noop("The key may not use the models that were asked for.")
BY_BOUND: Final = gettext_noop("The requests of this key in work at once took more memory than one key may have.")


def verdict(row: Ended) -> Verdict:
    """Why it ended as it did. Nothing in it was made up by the client but the name of the model."""
    match row.status:
        case "ok":
            return Verdict(Text(GOOD.get(row.reason, ANSWERED), total=seconds(row.total_ms)), NONE)
        # With the reason `cancelled` it was another request that did it; that has a sentence of its own below.
        case "cancelled" if row.reason != "cancelled":
            words = LEFT_EARLY if row.first_token_ms is None else LEFT
            return Verdict(Text(words, total=seconds(row.total_ms)), NONE)
    if row.reason in LIMITS:
        return Verdict(_limit(row), _again(row) or NONE)
    sentence, advice = REASONS.get(row.reason, ("", ""))
    if row.reason == "rate_limited":
        # A turn that had an instance was limited there.
        sentence = BY_LINGMA if row.status == "error" else BY_BOUND
    if row.reason == "model" and not row.model:
        sentence = MODELS
    if not sentence:
        return Verdict(Text(OTHER_REFUSAL if row.status == "refused" else OTHER, reason=row.reason or "–"), NONE)
    # The wait that a lost login comes with is a guess: nobody knows when somebody logs in.
    again = None if row.reason == "logged_out" else _again(row)
    values = {"model": row.model, "client": row.client or "–"} if "%(" in sentence else {}
    return Verdict(Text(sentence, **values), again or Text(advice))


def _limit(row: Ended) -> Text:
    name = Text(LIMITS[row.reason])
    if row.allowed is None:
        return Text(UNSIZED, limit=name)
    of = OF_TEAM if row.limit_scope == "team" else OF_KEY
    return Text(of, limit=name, used=used(row), allowed=f"{row.allowed:,}")


def used(row: Ended) -> Text:
    """What of the limit was used: where refusals share the row, the most that one of them has met."""
    if row.value is None:
        return Text("–")
    value = f"{row.value:,}"
    return Text(UP_TO, used=value) if row.count > 1 and row.value != row.allowed else Text(value)


def _again(row: Ended) -> Text | None:
    if row.retry_after is None:
        return None
    wait = row.retry_after
    return Text(AGAIN, seconds=f"{wait}") if wait < 60 else Text(MUCH_LATER, time=span(wait))


def seconds(ms: int) -> str:
    """A time for people: in ms below a second."""
    return f"{ms} ms" if ms < 1000 else f"{ms / 1000:,.1f} s"


UNITS: Final = (
    gettext_noop("%(count)s d"), gettext_noop("%(count)s h"),
    gettext_noop("%(count)s min"), gettext_noop("%(count)s s"),
)  # fmt: skip
TWO_UNITS: Final = gettext_noop("%(larger)s %(smaller)s")


def span(sec: float) -> Text:
    """A wait in the two largest of its units, rounded up to a second."""
    whole = math.ceil(sec)
    counts = (whole // 86_400, whole % 86_400 // 3600, whole % 3600 // 60, whole % 60)
    # At least the seconds, for a wait of none.
    first = next((place for place, count in enumerate(counts) if count), len(counts) - 1)
    parts = [Text(unit, count=count) for count, unit in zip(counts, UNITS, strict=True)][first : first + 2]
    if len(parts) == 1 or not counts[first + 1]:
        return parts[0]
    return Text(TWO_UNITS, larger=parts[0], smaller=parts[1])
