"""What a trace says, in words."""

from __future__ import annotations

from typing import Final

from django.utils.functional import Promise
from django.utils.translation import gettext
from django.utils.translation import gettext_lazy as _

from accounts.apps import accounts_config
from accounts.ledger.trace import Trace
from accounts.models import Usage

BY: Final = {
    "model": _("%(model)s is a model of the Lingma account."),
    "alias": _("The alias %(alias)s stands for %(wanted)s."),
    "alias_default": _(
        "The alias %(alias)s stands for %(wanted)s, which the Lingma account does not offer: the default model answers."
    ),
    "agent": _("%(model)s means agent mode with the default model."),
    "default": _("No model of the Lingma account and no alias is named %(model)s: the default model answers."),
}
DEFAULT_ALIAS: Final = _("The alias %(alias)s stands for the default model.")
SESSIONS: Final = {
    "turned_off": _("Sessions are turned off by a setting."),
    "agent_mode": _("Agent mode keeps no sessions."),
    "with_tools": _("Sessions are turned off for requests with tools by a setting."),
    "first": _("The conversation began with this request."),
    "unknown": _("No session held this conversation: it was changed, was not held here before, or is forgotten."),
    "continued": _("The session on %(holder)s held all but what is new."),
    "elsewhere": _(
        "%(holder)s, which held the session, could not take the turn: another instance was sent everything."
    ),
    "lost": _("The turn was lost in its session on %(holder)s, and asked again from the beginning."),
}
SCOPES: Final = {"key": _("of the key"), "team": _("of the team")}
SESSION_STATES: Final = {"new": _("new"), "reused": _("continued"), "rebuilt": _("sent anew"), "off": _("off")}
# What speaks against an instance beside its state, whose words are in the list of states.
AGAINST: Final = {
    "full": _("was full: %(figure)s"),
    "lost": _("had lost this turn before"),
    "session": _("did not hold the session"),
    "busier": _("had more to do: %(figure)s"),
    "turn": _("had as much to do; instances take turns"),
    "kept": _("was kept for a turn that must run alone, or for others that waited"),
}


def model_words(row: Usage, trace: Trace) -> str:
    words: str | Promise = BY.get(trace.named_by, "")
    if trace.named_by == "alias" and not trace.wanted:
        words = DEFAULT_ALIAS
    return str(words) % {"model": row.model, "alias": trace.alias, "wanted": trace.wanted} if words else ""


def session_words(trace: Trace) -> str:
    words = SESSIONS.get(trace.session, "")
    text = str(words) % {"holder": trace.holder or "–"} if words else ""
    if trace.by:
        text = f"{_handed_over(trace) % {'process': trace.by}} {text}"
    return text


def _handed_over(trace: Trace) -> str:
    if trace.holder:
        return gettext("The request came to %(process)s, which handed it over to the process that held the session.")
    return gettext("The request came to %(process)s, which handed it over to a machine that had a free place.")


def characters(row: Usage, trace: Trace) -> str:
    """How much was sent; "" when nothing was."""
    if trace.sent is None or trace.whole is None:
        return ""
    figures = {"sent": f"{trace.sent:,}", "whole": f"{trace.whole:,}"}
    if row.session == "reused":
        return gettext("%(sent)s characters were sent instead of %(whole)s.") % figures
    return gettext("The whole conversation of %(whole)s characters was sent, in a text of %(sent)s.") % figures


def against(reason: str) -> str:
    """Why an instance did not take the turn. What a later version wrote is shown as it is."""
    code, _sep, figure = reason.partition(" ")
    if words := accounts_config().states.get(code):
        return gettext(words)
    return str(AGAINST[code]) % {"figure": figure} if code in AGAINST else reason
