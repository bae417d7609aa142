"""The logins of Lingma: what is wrong with one, when it ends, and whether it is made again by itself."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import UTC, datetime
from typing import Final

from django.utils import timezone
from django.utils.translation import gettext, ngettext

from bridge.doctor.finding import Finding, fail, ok, warn
from bridge.doctor.installation_state import InstallationState
from bridge.fleet import attempts
from bridge.fleet.login_refresh import facts_of, known, next_at
from bridge.logins.schedule import DAY, MOST_FAILURES, needs_person
from bridge.models import Login
from bridge.status.accounts import AccountState, Remedy
from bridge.status.instance import InstanceStatus
from bridge.status.logins import LoginProblem

TOPIC: Final = "logins"


def logins(state: InstallationState) -> Iterator[Finding]:
    """One line for each that is stored, and one for each instance whose own login ends soon."""
    if state.database_answers:
        rows = list(known().prefetch_related("orders"))
        yield from (_stored(state, login) for login in rows)
        yield from _worker(state)
        if not rows:
            yield ok(TOPIC, gettext("none is stored: each instance has that of its own work directory"))
    own = (each for each in state.heartbeats if each.login and each.login_expires_at and not each.held_login)
    yield from (_of_instance(state, status) for status in sorted(own, key=lambda each: each.name))


def _worker(state: InstallationState) -> Iterator[Finding]:
    """Whether somebody takes attempts, where one of late says that nobody does."""
    if not state.redis_answers:  # without it none can be told of any
        return
    if names := attempts.not_taken(datetime.fromtimestamp(state.now, UTC)):
        what = gettext("%(names)s: no login worker took the log-in") % {"names": ", ".join(names)}
        advice = gettext(
            "See whether it runs: make run starts it, python -m gateway_project.supervise login-worker does alone."
        )
        yield fail(TOPIC, what, advice)


def _stored(state: InstallationState, login: Login) -> Finding:
    """What is worst about it. The order is that of what would cure it."""
    facts, account = facts_of(login), AccountState(login.account)
    if login.problem:
        problem = LoginProblem(login.problem)
        return fail(TOPIC, _about(login, gettext(problem.label)), gettext(problem.advice))
    if not login.generation:
        return warn(TOPIC, _about(login, gettext("it has no files yet")), _by_hand())
    match account.remedy:
        case Remedy.ADMINISTRATOR:
            return fail(TOPIC, _about(login, gettext(account.label)), gettext(account.advice))
        case Remedy.LOGIN:
            return fail(TOPIC, _about(login, gettext(account.label)), _cure(state, login))
        case Remedy.TIME if account is not AccountState.UNKNOWN:
            return warn(TOPIC, _about(login, gettext(account.label)), gettext(account.advice))
    if needs_person(facts, state.env.alert_options["login_days"], state.now):
        alone = gettext("%(end)s, and nothing makes it again by itself") % {"end": _end(state, facts.expires_at)}
        return warn(TOPIC, _about(login, alone), _by_hand())
    if facts.failures:
        failed = ngettext(
            "%(count)d attempt to log in failed", "%(count)d attempts to log in failed in a row", facts.failures
        )
        return warn(TOPIC, _about(login, failed % {"count": facts.failures}), _cure(state, login))
    return ok(TOPIC, _about(login, _well(state, login, account)))


def _well(state: InstallationState, login: Login, account: AccountState) -> str:
    facts = [gettext(account.label)]
    if login.expires_at:
        facts.append(_end(state, login.expires_at.timestamp()))
    if again := next_at(login, state.env.login_refresh):
        facts.append(gettext("it is made again at %(time)s") % {"time": _time(again)})
    if not login.instances:
        facts.append(gettext("no instance has it"))
    return ", ".join(facts)


def _cure(state: InstallationState, login: Login) -> str:
    """What to do about one that is lost, or that attempts do not bring back."""
    facts = facts_of(login)
    # A lost one is made again at once, whether its end is known or not.
    begins = facts.account.remedy is Remedy.LOGIN or next_at(login, state.env.login_refresh)
    if not facts.may_run_alone or facts.failures >= MOST_FAILURES or not begins:
        return _by_hand()
    return gettext("It is tried again by itself, not before %(time)s; its page in the console has the attempts.") % {
        "time": _time(max(state.now, facts.retry_at))
    }


def _by_hand() -> str:
    return gettext("Log it in on its page in the console, or with manage.py lingma_login.")


def _of_instance(state: InstallationState, status: InstanceStatus) -> Finding:
    """A login that nobody has stored: nothing makes it again by itself."""
    said = gettext("%(instance)s has a login of its own: %(end)s") % {
        "instance": status.name,
        "end": _end(state, status.login_expires_at),
    }
    if status.login_expires_at > state.now + state.env.alert_options["login_days"] * DAY:
        return ok(TOPIC, said)
    return warn(TOPIC, said, gettext("Store a login for it: the console's Logins, or manage.py lingma_login."))


def _about(login: Login, what: str) -> str:
    return f"{login.label}: {what}"


def _end(state: InstallationState, at: float) -> str:
    words = gettext("it ends at %(time)s") if at > state.now else gettext("it has ended at %(time)s")
    return words % {"time": _time(at)}


def _time(at: float) -> str:
    return f"{timezone.localtime(datetime.fromtimestamp(at, UTC)):%Y-%m-%d %H:%M %Z}"
