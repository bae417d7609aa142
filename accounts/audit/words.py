"""The audit log in the reader's language: what its rows have as names of columns, models and actions."""

from __future__ import annotations

from typing import Any, Final, NamedTuple

from django.apps import apps
from django.core.exceptions import FieldDoesNotExist
from django.utils import timezone
from django.utils.text import Truncator
from django.utils.translation import gettext_lazy as _

from accounts.audit.watched import MODELS
from accounts.models import AuditEntry
from gateway_project.lib.visible import visible

ACTIONS: Final = {
    "created": _("created"),
    "changed": _("changed"),
    "deleted": _("deleted"),
    "rotated": _("rotated"),
    "paused": _("paused"),
    "quarantined": _("put in quarantine"),
    "resumed": _("resumed"),
    "revoked": _("revoked"),
    "forgotten": _("forgotten"),
    "viewed": _("viewed"),
    "logged_in": _("logged in"),
    "logged_out": _("logged out"),
    "login_failed": _("log-in failed"),
    "invited": _("invited"),
    "new_network": _("used from a new network"),
    "version_changed": _("reports another version"),
    "acknowledged": _("acknowledged"),
    "renewed": _("logged in anew"),
    "cancelled": _("cancelled"),
    "helped": _("given the callback"),
    "opened": _("opened"),
    "closed": _("closed"),
    "restored": _("restored"),
}
COLOURS: Final = {
    "created": "success", "changed": "info", "rotated": "info", "paused": "warning", "quarantined": "warning",
    "resumed": "success", "revoked": "danger", "deleted": "danger", "forgotten": "danger", "viewed": "warning",
    "logged_in": "info", "logged_out": "info", "login_failed": "warning", "invited": "info", "new_network": "warning",
    "version_changed": "info", "acknowledged": "success", "renewed": "success", "cancelled": "warning",
    "helped": "info", "opened": "warning", "closed": "success", "restored": "warning",
}  # fmt: skip
MORE_NAMES: Final = {"by": _("logged in with"), "failures": _("failures of the last hour")}
"""Of what is no column."""
KINDS: Final = {
    "bridge.instanceorder": _("order to an instance"),
    "account.emailaddress": _("verified e-mail address"),
    "mfa.authenticator": _("second factor"),
    "socialaccount.socialaccount": _("account at the identity provider"),
    "django_celery_beat.intervalschedule": _("interval of schedules"),
    "django_celery_beat.crontabschedule": _("times of schedules"),
    "accounts.idempotentrequest": _("answer kept for repeated requests"),
    "backup": _("backup"),
}
"""In plain words, where the model's own name is that of its table, or says little without its page."""
WAYS: Final = {
    "password": _("a password"), "totp": _("a code of an app"), "recovery_codes": _("a recovery code"),
    "webauthn": _("a security key"), "socialaccount": _("the identity provider"),
}  # fmt: skip
"""What one logs in with, as the log has it."""
RARE: Final = ("django_celery_beat.SolarSchedule", "django_celery_beat.ClockedSchedule", "accounts.IdempotentRequest")
"""Nobody asks for them: their rows are in the log, and no choice of the filter."""
BESIDE: Final = ("sessions_store.Entry", "accounts.UsageContent", "accounts.Alert", "accounts.IdempotentRequest")
"""Kinds that are not watched: what is done to them is recorded where it is done."""
NOTHING: Final = "–"


class Change(NamedTuple):
    """One column, as people read it."""

    name: str
    before: str
    after: str

    def shortened(self, longest: int) -> str:
        """On one line, with so many characters of each value."""
        before, after = (Truncator(text).chars(longest) for text in (self.before, self.after))
        return f"{self.name}: {after}" if self.before == NOTHING else f"{self.name}: {before} → {after}"


def changes_of(entry: AuditEntry) -> list[Change]:
    return [
        Change(column_name(entry.object_type, name), _shown(before), _ways(after) if name == "by" else _shown(after))
        for name, (before, after) in entry.changes.items()
    ]


def time_of(entry: AuditEntry) -> str:
    """To the second, with the zone."""
    return timezone.localtime(entry.at).strftime("%Y-%m-%d %H:%M:%S %Z")


def action_name(action: str) -> str:
    return str(ACTIONS.get(action, action))


def kind_name(object_type: str) -> str:
    if name := KINDS.get(object_type.lower()):
        return str(name)
    model = _model(object_type)
    # Of an app that is not installed any more; rows of the log outlive it.
    return object_type if model is None else str(model._meta.verbose_name)


def column_name(object_type: str, name: str) -> str:
    model = _model(object_type)
    try:
        return name if model is None else str(model._meta.get_field(name).verbose_name)
    except FieldDoesNotExist:  # of an earlier version
        return str(MORE_NAMES.get(name, name))


def kinds() -> list[tuple[str, str]]:
    """The kinds of objects that people look for, as choices in the order of their names."""
    labels = [label for label in (*MODELS, *BESIDE) if label not in RARE and _model(label) is not None]
    return sorted(((label.lower(), kind_name(label)) for label in labels), key=lambda kind: kind[1].casefold())


def _model(label: str) -> Any:
    try:
        return apps.get_model(label)
    except (LookupError, ValueError):  # no model at all, or of an app that is not there
        return None


def _ways(text: str | None) -> str:
    return ", ".join(str(WAYS.get(way, visible(way))) for way in (text or "").split(", ")) if text else NOTHING


def _shown(text: str | None) -> str:
    return visible(text) if text else NOTHING
