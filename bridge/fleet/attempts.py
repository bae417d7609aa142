"""Attempts to log in, from the side of those who want them: begun, handed to the login worker, helped, ended.

Who runs one is `bridge.signin`; between the two there is only the row.
"""

from __future__ import annotations

from collections.abc import Callable, Collection
from datetime import datetime, timedelta
from functools import partial
from typing import Any, Final

from django.core.exceptions import ValidationError
from django.db import IntegrityError, transaction
from django.db.models import Max, Q, QuerySet
from django.utils import timezone
from django.utils.translation import gettext

from accounts.audit import context
from accounts.audit.entries import record_object
from bridge.fleet.login_failures import count_lost
from bridge.logins import callback, credentials
from bridge.models import Login, LoginAttempt, announce_orders
from bridge.status.attempts import SERVICE, WAYS, AttemptReason, AttemptResult, AttemptState
from bridge.status.logins import LoginKind
from gateway_project.lib import task_queue
from gateway_project.lib.secrets.secrets_at_rest import Secret, SecretUnreadableError
from gateway_project.lib.translated import translated

TASK: Final = "bridge.log_in"
QUEUE: Final = "logins"
LARGEST_PASTED: Final = 64 << 10
MOST_PASTED: Final = 5
"""Addresses that wait to be passed on."""
BROUGHT: Final = (AttemptResult.LOGGED_IN, AttemptResult.NEWER)
"""Results after which there is a newer login."""
PASTE_TRIES: Final = 5
LOST_AFTER: Final = timedelta(seconds=60)
"""Without a sign of life whoever ran it has ended."""
UNCLAIMED_AFTER: Final = timedelta(minutes=2)
LATE_AFTER: Final = timedelta(minutes=1)
"""A login worker that there is takes an attempt within seconds."""
MISSED_FOR: Final = timedelta(hours=1)
"""So long an attempt that nobody took says that there is none: longer than the longest pause between two."""
AGAIN_AFTER: Final = timedelta(seconds=10)
"""A task may be lost with Redis; claimed twice, an attempt still runs once."""


def way_of(login: Login) -> LoginKind:
    """The way by which this login is made again, if nobody says otherwise."""
    kind = LoginKind(login.kind)
    return kind if kind in WAYS else LoginKind.BROWSER


def begin(
    login: Login,
    way: LoginKind,
    reason: AttemptReason,
    pasted: bytes = b"",
    due: Callable[[Login], bool] | None = None,
    *,
    hand_over: bool = True,
) -> tuple[LoginAttempt | None, bool]:
    """An attempt, and whether it is new: one that runs already is all there is. Raise ValidationError.

    `pasted`: what a device login is made with. `due` is asked once nobody else can begin one: with False there is none.
    `hand_over`: to the login worker; otherwise the caller runs it.
    """
    _check(login, way, pasted)
    attempt = LoginAttempt(
        login=login, way=way, reason=reason, who=context.current().actor()[:150], generation=login.generation,
        pasted=Secret.of(pasted) if pasted else None,
    )  # fmt: skip
    try:
        with transaction.atomic():
            attempt.save(force_insert=True)
            _look_again(attempt, due)
            if not reason.by_itself:  # somebody acts: what had failed by itself may be tried again
                Login.objects.filter(pk=login.pk).update(failures=0, retry_at=None)
            announce_orders()
            if hand_over:
                transaction.on_commit(partial(hand_out, attempt.pk))
    except _NotDue:
        return None, False
    except IntegrityError:
        return LoginAttempt.objects.filter(login=login, ended_at=None).first(), False
    return attempt, True


class _NotDue(Exception):
    pass


def _look_again(attempt: LoginAttempt, due: Callable[[Login], bool] | None) -> None:
    """At the login as it is, now that no other attempt can begin. Raise _NotDue."""
    found = Login.objects.defer("bundle", "credentials").get(pk=attempt.login_id)
    if due is not None and not due(found):
        raise _NotDue
    if found.generation != attempt.generation:
        attempt.generation = found.generation
        attempt.save(update_fields=["generation"])


def _check(login: Login, way: LoginKind, pasted: bytes) -> None:
    if way not in WAYS:
        raise ValidationError({"way": gettext("There is no such way to log in.")})
    if way is LoginKind.DEVICE:
        try:
            credentials.read_device(pasted[: LARGEST_PASTED + 1])
        except credentials.BadCredentials as exc:
            raise ValidationError({"tokens": translated(exc.text)}) from None
    elif pasted:  # they would be passed on as an address
        raise ValidationError({"tokens": gettext("Tokens are for the way device alone.")})
    if way.has_credentials and (login.credentials is None or login.kind != way):
        raise ValidationError({"way": gettext("This login has no credentials for this way.")})


def latest(names: Collection[str]) -> list[int]:
    """The last attempt of each login that these instances have: one that runs, or has just ended."""
    attempts = LoginAttempt.objects.filter(login__orders__name__in=names).exclude(way=SERVICE).order_by()
    return [row["last"] for row in attempts.values("login").annotate(last=Max("pk"))]


def failures(attempts: Collection[int]) -> list[str]:
    """Why those of them have brought no login that are over, in English, as a command speaks."""
    if not attempts:
        return []
    ended = LoginAttempt.objects.filter(pk__in=attempts).exclude(ended_at=None).exclude(result__in=BROUGHT)
    lines = []
    for label, result, detail in ended.order_by("login__label").values_list("login__label", "result", "detail"):
        why = AttemptResult(result)
        said = f"the log-in of {label} has ended: {why.label}{f' ({detail})' if detail else ''}. {why.advice}"
        lines.append(" ".join(said.split()).removesuffix("."))
    return lines


def hand_out(attempt: int) -> bool:
    """Give it to the login worker. What cannot be sent now is sent again by the schedule."""
    return task_queue.send(TASK, attempt, queue=QUEUE)


def cancel(attempt: LoginAttempt) -> bool:
    """End it; whether there was anything to end. Whoever runs it notices within seconds."""
    changes = {"state": AttemptState.CANCELLED, "result": AttemptResult.CANCELLED}
    ended = _open(attempt).update(**changes, ended_at=timezone.now(), url="", pasted=None)
    if ended:
        announce_orders()
        record_object("cancelled", attempt, {})
    return bool(ended)


def paste(attempt: LoginAttempt, text: str) -> None:
    """Hand over the address at which the browser ended. Raise ValidationError."""
    try:
        target = callback.target_of(text)
    except callback.BadCallback as exc:
        raise ValidationError({"url": translated(exc.text)}) from None
    for _try in range(PASTE_TRIES):
        if _added(attempt, target):
            record_object("helped", attempt, {})
            return
    raise ValidationError({"url": gettext("Somebody else pastes as well. Try again.")})


def _added(attempt: LoginAttempt, target: str) -> bool:
    """Behind what waits already: of two that come at once, none is lost. False: it has changed meanwhile."""
    waiting = _open(attempt).filter(state=AttemptState.NEEDS_PERSON)
    row = waiting.values("pasted").first()
    if row is None:
        raise ValidationError({"url": gettext("This attempt waits for no address.")})
    before: Any = row["pasted"]
    addresses = [each for each in addresses_in(before) if each != target]
    if len(addresses) >= MOST_PASTED:
        raise ValidationError({"url": gettext("Several addresses wait to be passed on. Try again in a moment.")})
    changed = waiting.filter(pasted=before).update(pasted=Secret.of("\n".join([*addresses, target]).encode()))
    return bool(changed)


def addresses_in(pasted: Secret | None) -> list[str]:
    """Those that wait to be passed on."""
    try:
        return [] if pasted is None else pasted.read().decode("ascii", "replace").splitlines()
    except SecretUnreadableError:
        return []


def _open(attempt: LoginAttempt) -> QuerySet[LoginAttempt]:
    return LoginAttempt.objects.filter(pk=attempt.pk, ended_at=None)


def end_lost() -> None:
    """End what nobody runs any more. Safe to run twice and at once."""
    now = timezone.now()
    _end(LoginAttempt.objects.filter(seen_at=None, begun_at__lt=now - UNCLAIMED_AFTER), AttemptResult.NO_WORKER)
    _end(LoginAttempt.objects.filter(seen_at__lt=now - LOST_AFTER), AttemptResult.WORKER_ENDED)


def look_after() -> None:
    """The same, and hand out what nobody has taken."""
    end_lost()
    again = timezone.now() - AGAIN_AFTER
    waiting = LoginAttempt.objects.filter(state=AttemptState.WAITING, ended_at=None, begun_at__lt=again)
    for attempt in waiting.values_list("pk", flat=True):
        if not hand_out(attempt):
            return


def not_taken(now: datetime) -> list[str]:
    """The logins for which no login worker is there, as one would have taken their attempts by now."""
    rows = LoginAttempt.objects.exclude(way=SERVICE).exclude(reason=AttemptReason.COMMAND)
    late = Q(ended_at=None, begun_at__lt=now - LATE_AFTER)
    missed = rows.filter(late | Q(result=AttemptResult.NO_WORKER, ended_at__gt=now - MISSED_FOR), seen_at=None)
    # Whoever has taken one since is there.
    if last := rows.aggregate(last=Max("seen_at"))["last"]:
        missed = missed.filter(begun_at__gt=last)
    return sorted(set(missed.order_by().values_list("login__label", flat=True)))


def forget_screenshots(days: int) -> None:
    """Drop pictures of pages that are older."""
    old = LoginAttempt.objects.exclude(screenshot=None).filter(begun_at__lt=timezone.now() - timedelta(days=days))
    old.update(screenshot=None)


def _end(attempts: QuerySet[LoginAttempt], result: AttemptResult) -> None:
    """Those of them that another has not ended meanwhile, and that have given no sign of life since."""
    for attempt in attempts.filter(ended_at=None).defer("screenshot", "pasted"):
        with transaction.atomic():
            ended = attempts.filter(pk=attempt.pk, ended_at=None).update(
                state=AttemptState.FAILED, result=result, ended_at=timezone.now(), url="", pasted=None
            )
            if not ended:
                continue
            count_lost(attempt, result)
            LoginAttempt.prune(attempt.login_id)
            announce_orders()
