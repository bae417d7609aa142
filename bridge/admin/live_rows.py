"""The rows of the live page as texts. `static/bridge/live.js` writes the same ones from then on."""

from __future__ import annotations

from enum import StrEnum
from typing import Any, Final

from django.contrib.admin.utils import quote
from django.http import HttpRequest
from django.template.defaultfilters import filesizeformat
from django.urls import reverse
from django.utils.functional import Promise
from django.utils.translation import gettext
from django.utils.translation import gettext_lazy as _

from bridge.admin.instance_actions import WORDS
from bridge.admin.instances import PAUSES, paused
from bridge.fleet.modes import NONE_READY, SILENT
from bridge.status.accounts import AccountState
from bridge.status.attempts import AttemptState
from bridge.status.live import LiveInstance, LiveKey, LiveLogin, LiveMode, LiveProcess, LiveTurn, LiveView
from bridge.status.logins import LoginProblem
from bridge.status.states import InstanceState
from gateway_project.lib.degraded import PARTS, STILL_WORKS
from gateway_project.lib.texts import gettext_noop

ID: Final = "__id__"
QUOTED: Final = "__quoted__"
KEY: Final = "__key__"
"""Stand for what a row is about, for the same as the console writes it in its addresses, and for the key of a turn, in
the addresses of rows that the script makes."""
MODE: Final = gettext_noop("Degraded: %(part)s for %(time)s (%(why)s). Still: %(still)s.")
WINDOW: Final = gettext_noop("maintenance window %(name)s, for %(time)s more")
UNREPORTED: Final = gettext_noop("its turns are not known now")
PHASES: Final = {
    "place": gettext_noop("waits for a place"),
    "first": gettext_noop("waits for the first token"),
    "writes": gettext_noop("writes"),
}
FIGURES: Final[dict[str, Promise]] = {
    "load": _("Turns running"),
    "waiting": _("Turns that wait for a place"),
    "turns": _("Turns that ended within a minute"),
    "failed": _("Failed within a minute"),
    "first": _("Mean time to the first token"),
    "tokens": _("Tokens per second"),
    "backlog": _("Usage rows to be filed"),
}
ACCOUNTS: Final = frozenset(each.label for each in AccountState)
"""Last errors in our own words; all others are what a program said."""
DAY: Final = 86_400


def words() -> dict[str, Any]:
    """What the script needs to write, in the language of the reader."""
    return {
        "states": {each.value: gettext(each.label) for each in InstanceState},
        "accounts": {each.value: gettext(each.label) for each in AccountState},
        "attempts": {each.value: gettext(each.label) for each in AttemptState},
        "problems": {each.value: gettext(each.label) for each in LoginProblem if each.value},
        "errors": {text: gettext(text) for text in ACCOUNTS},
        "pauses": {why: gettext(text) for why, text in PAUSES.items()},
        "phases": {phase: gettext(text) for phase, text in PHASES.items()},
        "parts": {name: gettext(name) for name in PARTS},
        "still": {name: gettext(text) for name, text in STILL_WORKS.items()},
        "whys": {text: gettext(text) for text in (SILENT, NONE_READY)},
        "mode": gettext(MODE),
        "window": gettext(WINDOW),
        "pid": gettext("pid %(pid)s"),
        "days": gettext("%(count)s d"),
        "in": gettext("in %(time)s"),
        "over": gettext("over"),
        "replacing": gettext("a successor is starting"),
        "unreported": gettext(UNREPORTED),
        "silent": gettext("gives no sign of life"),
    }


def figures(view: LiveView) -> list[dict[str, str]]:
    """The numbers of the whole gateway."""
    rates = view.rates
    told = {
        "load": f"{view.in_flight} / {view.places}",
        "waiting": f"{view.waiting:,}",
        "turns": f"{rates.turns:,}" if rates else "–",
        "failed": f"{rates.failed:,}" if rates else "–",
        "first": ms(rates.first_token_ms) if rates else "–",
        "tokens": f"{round(rates.tokens / 60):,}" if rates else "–",
        "backlog": f"{view.backlog:,}",
    }
    return [{"name": name, "label": str(label), "value": told[name]} for name, label in FIGURES.items()]


def rows(view: LiveView, request: HttpRequest) -> dict[str, list[dict[str, Any]]]:
    """By list; the first of each is an empty one, of which the script makes more."""
    at = view.at
    return {
        "modes": [{}, *(mode_row(each, at) for each in view.modes)],
        "processes": [{}, *(process_row(each, at) for each in view.processes)],
        "instances": [places_of(ID, request), *(instance_row(each, at, request) for each in view.instances)],
        "turns": [turn_places(ID, KEY, request), *(turn_row(each, at, request) for each in view.turns)],
        "queue": [key_places(ID, request), *(key_row(each, at, request) for each in view.queue)],
        "logins": [login_places(ID), *(login_row(each, at) for each in view.logins)],
    }


def mode_row(mode: LiveMode, at: float) -> dict[str, Any]:
    still = gettext(STILL_WORKS[mode.name])
    why = mode.why and gettext(mode.why)
    values = {"part": gettext(mode.name), "time": span(at - mode.since), "why": why, "still": still}
    return {"id": mode.name, "text": gettext(MODE) % values}


def process_row(process: LiveProcess, at: float) -> dict[str, Any]:
    pid = gettext("pid %(pid)s") % {"pid": process.pid} if process.pid else ""
    return {
        "id": process.name, "name": process.name, "pid": pid, "in_flight": process.in_flight,
        "waiting": process.waiting, "memory": size(process.memory), "up": since(process.started_at, at),
        "gone": "" if process.reports else gettext(UNREPORTED),
    }  # fmt: skip


def instance_row(instance: LiveInstance, at: float, request: HttpRequest) -> dict[str, Any]:
    return places_of(instance.name, request) | {
        "name": instance.name,
        "state": _called(InstanceState, instance.state),
        "state_value": instance.state,
        "account": _called(AccountState, instance.account),
        "load": f"{instance.in_flight} / {instance.limit}",
        "pause": pause(instance, at),
        "version": instance.version,
        "up": since(instance.started_at, at),
        "memory": size(instance.memory),
        "disk": size(instance.disk),
        "restarts": instance.restarts,
        "login": ends(instance.login_expires_at, at),
        "last_error": gettext(instance.last_error) if instance.last_error in ACCOUNTS else instance.last_error,
    }


def places_of(name: str, request: HttpRequest) -> dict[str, Any]:
    """Where an instance is looked at and ordered about."""
    target = QUOTED if name == ID else quote(name)
    row: dict[str, Any] = {"id": name, "href": reverse("admin:bridge_instance_change", args=[target]), "actions": []}
    if request.user.has_perm("bridge.change_instance"):
        row["log"] = reverse("admin:live_log", args=[name])
        row["actions"] = [
            {
                "title": title,
                "effect": effect,
                "address": reverse(f"admin:bridge_instance_{action}_one", args=[target]),
            }
            for action, (title, effect) in WORDS.items()
        ]
    return row


def turn_row(turn: LiveTurn, at: float, request: HttpRequest) -> dict[str, Any]:
    phase = "place" if not turn.instance else "first" if turn.first_token_ms is None else "writes"
    return turn_places(turn.id, turn.key, request) | {
        # Its end: the first digits are the second, which others may share.
        "short": f"…{turn.id[-8:]}",
        "key": turn.key_name,
        "model": turn.model,
        "client": turn.client,
        "instance": turn.instance,
        "phase": gettext(PHASES[phase]),
        "age": since(turn.started_at, at),
        "first": ms(turn.first_token_ms) if turn.first_token_ms is not None else "",
    }


def turn_places(id_: str, key: int | str, request: HttpRequest) -> dict[str, Any]:
    return {"id": id_, "href": reverse("usage_request", args=[id_]), **_key_place(key, request)}


def key_row(line: LiveKey, at: float, request: HttpRequest) -> dict[str, Any]:
    return key_places(line.key, request) | {
        "key": line.key_name,
        "waiting": line.waiting,
        "longest": since(line.since, at),
    }


def key_places(key: int | str, request: HttpRequest) -> dict[str, Any]:
    return {"id": key, **_key_place(key, request)}


def _key_place(key: int | str, request: HttpRequest) -> dict[str, Any]:
    if not request.user.has_perm("accounts.view_apikey"):
        return {}
    # A number stands for the key here, as the address takes no other text.
    return {"key_href": reverse("admin:accounts_apikey_changelist") + f"{key}/change/"}


def login_row(login: LiveLogin, at: float) -> dict[str, Any]:
    return login_places(login.id) | {
        "label": login.label,
        "account": _called(AccountState, login.account),
        "ends": ends(login.expires_at, at),
        "generation": login.generation,
        "attempt": gettext(AttemptState(login.attempt).label) if login.attempt else "",
        "problem": gettext(LoginProblem(login.problem).label) if login.problem else "",
    }


def login_places(login: int | str) -> dict[str, Any]:
    return {"id": login, "href": reverse("admin:bridge_login_change", args=[login])}


def pause(instance: LiveInstance, at: float) -> str:
    """What keeps it from turns that is no state of its own."""
    if instance.window:
        return gettext(WINDOW) % {"name": instance.window, "time": span(instance.window_until - at)}
    seconds = round(instance.cool_until - at)
    if seconds > 0:
        return paused(instance.cools_for, seconds)
    return gettext("a successor is starting") if instance.replacing else ""


def _called(kind: type[StrEnum], value: str) -> str:
    """Its label; a word that only another build has stays as it is."""
    known: Any = next((each for each in kind if each == value), None)
    return gettext(known.label) if known is not None else value


def since(moment: float, at: float) -> str:
    return span(at - moment) if moment else ""


def ends(moment: float, at: float) -> str:
    """How long until then."""
    if not moment:
        return ""
    return gettext("in %(time)s") % {"time": span(moment - at)} if moment > at else gettext("over")


def span(seconds: float) -> str:
    """As on a clock, without a unit; days from two on."""
    whole = max(0, int(seconds))
    if whole >= 2 * DAY:
        return gettext("%(count)s d") % {"count": whole // DAY}
    hours, minutes = divmod(whole // 60, 60)
    return f"{hours}:{minutes:02}:{whole % 60:02}" if hours else f"{minutes}:{whole % 60:02}"


def ms(milliseconds: int | None) -> str:
    if milliseconds is None:
        return "–"
    return f"{milliseconds} ms" if milliseconds < 1000 else f"{milliseconds / 1000:.1f} s"


def size(count: int) -> str:
    return filesizeformat(count) if count else ""
