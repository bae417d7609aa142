"""What can be done to several keys at once: the questions that are asked before, and what is done."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from datetime import timedelta
from typing import Any, Final

from django import forms
from django.core.exceptions import ValidationError
from django.db.models import F, QuerySet
from django.utils import timezone
from django.utils.text import capfirst
from django.utils.translation import gettext, ngettext_lazy
from django.utils.translation import gettext_lazy as _
from unfold.widgets import (
    UnfoldAdminIntegerFieldWidget,
    UnfoldAdminSelectWidget,
    UnfoldAdminTextInputWidget,
)  # fmt: skip

from accounts.keys import services
from accounts.models import LIMITS, ApiKey, Policy
from accounts.roles import leads
from accounts.roles.reach import CHANGE_KEYS, own_teams
from gateway_project.lib.visible import visible

LONGEST_EXTENSION: Final = 3650


class ChangeForm(forms.Form):
    """What a change needs to know. `keys` are those it is about, as they are."""

    def __init__(self, *args: Any, user: Any, keys: Sequence[ApiKey], **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self.user = user
        self.keys = keys

    def values(self) -> Mapping[str, Any]:
        """The columns of every key that are set."""
        return {}

    def clean(self) -> dict[str, Any] | None:
        """What a team lead may not save on a page, they may not save here either."""
        cleaned = super().clean()
        if self.errors:
            return cleaned
        values = self.values()
        # Read anew for each: `keys` stay as they are, for the questions and the log.
        for key in self.keys if values else ():
            changed = ApiKey.objects.get(pk=key.pk)
            for name, value in values.items():
                setattr(changed, name, value)
            try:
                leads.check(self.user, changed)
            except ValidationError as exc:
                raise forms.ValidationError([f"{key}: {text}" for text in exc.messages]) from None
        return cleaned


class PauseForm(ChangeForm):
    reason = forms.CharField(
        label=_("Reason"), max_length=services.LONGEST_REASON, required=False, widget=UnfoldAdminTextInputWidget,
        help_text=_("Colleagues see it on the page of the key."),
    )  # fmt: skip


class QuarantineForm(ChangeForm):
    reason = forms.CharField(
        label=_("Reason"), max_length=services.LONGEST_REASON, widget=UnfoldAdminTextInputWidget,
        help_text=_("What was found, such as where the key has leaked. Colleagues see it on the page of the key."),
    )  # fmt: skip


class TeamForm(ChangeForm):
    team: Any = forms.ModelChoiceField(label=_("Team"), queryset=None, required=False, widget=UnfoldAdminSelectWidget)

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        field: Any = self.fields["team"]
        field.queryset = own_teams(self.user, CHANGE_KEYS)
        field.empty_label = gettext("no team")

    def values(self) -> Mapping[str, Any]:
        return {"team": self.cleaned_data["team"]}

    def clean_team(self) -> Any:
        """Refuse a team in which two live keys would have one name."""
        team, names = self.cleaned_data["team"], Counter(key.name for key in self.keys)
        staying = ApiKey.objects.filter(team=team, revoked_at=None).exclude(pk__in=[key.pk for key in self.keys])
        names.update(staying.filter(name__in=names).values_list("name", flat=True))
        if taken := [visible(name) for name, count in names.items() if count > 1]:
            text = gettext("Two live keys of this team would have the name %(names)s.")
            raise forms.ValidationError(text % {"names": ", ".join(taken)})
        return team


class LimitsForm(ChangeForm):
    """Those that are filled in are set, the others stay."""

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        for name in LIMITS:
            column: Any = Policy._meta.get_field(name)
            self.fields[name] = forms.IntegerField(
                label=capfirst(column.verbose_name), min_value=0, max_value=column.formfield().max_value or 2**31 - 1,
                required=False, widget=UnfoldAdminIntegerFieldWidget,
            )  # fmt: skip

    def values(self) -> Mapping[str, Any]:
        return {name: self.cleaned_data[name] for name in LIMITS if self.cleaned_data.get(name) is not None}

    def clean(self) -> dict[str, Any] | None:
        cleaned = super().clean()
        if not self.errors and not self.values():
            raise forms.ValidationError(gettext("Fill in at least one limit; 0 removes it."))
        return cleaned


class ExtendForm(ChangeForm):
    days = forms.IntegerField(
        label=_("Days"), min_value=1, max_value=LONGEST_EXTENSION, initial=30, widget=UnfoldAdminIntegerFieldWidget,
        help_text=_("Added to the expiry of each key; a key that has expired gets them from now on."),
    )  # fmt: skip


@dataclass(frozen=True, slots=True)
class Change:
    """One thing to do to keys. The texts are shown before, on the button, and after it."""

    title: Any
    question: Any
    hint: Any
    done: Any
    apply: Callable[[QuerySet[ApiKey], Any], object]
    form: type[ChangeForm] = ChangeForm
    concerns: Callable[[QuerySet[ApiKey]], QuerySet[ApiKey]] = lambda keys: keys
    """Which of the selected keys it can be done to; never to revoked ones."""
    refused: Callable[[Any, Sequence[ApiKey]], Any] = lambda user, keys: ""
    """Why this user may not do it to these keys, "" when they may."""
    nothing: Any = ""
    """Said when it can be done to none of the keys."""
    logged: str = "Changed."
    """In Django's own log, which is not translated."""
    is_danger: bool = False


def _extend(keys: QuerySet[ApiKey], form: ExtendForm) -> None:
    now, more = timezone.now(), timedelta(days=form.cleaned_data["days"])
    # In this order: the other way round those that have expired would be extended twice.
    keys.filter(expires_at__gt=now).update(expires_at=F("expires_at") + more)
    keys.filter(expires_at__lte=now).update(expires_at=now + more)


def _pause(keys: QuerySet[ApiKey], form: PauseForm) -> None:
    # One UPDATE for all, and so one announcement; what somebody else has paused meanwhile keeps its reason.
    keys.filter(paused_at=None).update(paused_at=timezone.now(), pause_reason=form.cleaned_data["reason"].strip())


def _quarantine(keys: QuerySet[ApiKey], form: QuarantineForm) -> None:
    new = keys.filter(quarantined_at=None)
    new.update(quarantined_at=timezone.now(), quarantine_reason=form.cleaned_data["reason"].strip())


def _resume(keys: QuerySet[ApiKey], form: ChangeForm) -> None:
    if not leads.is_operator(form.user):
        keys = keys.filter(quarantined_at=None)  # an operator may have come between the question and the answer
    keys.update(**services.RESUMED)


def _is_held(user: Any, keys: Sequence[ApiKey]) -> Any:
    """What a team lead hears who would resume a key that an operator put in quarantine."""
    held = [str(key) for key in keys if key.quarantined_at is not None]
    if not held or leads.is_operator(user):
        return ""
    return gettext("%(keys)s: in quarantine, which only an operator can lift.") % {"keys": ", ".join(held)}


REVOKE = Change(
    title=_("Revoke"),
    question=ngettext_lazy("Revoke this key?", "Revoke %(number)d keys?", "number"),
    hint=_(
        "Within a second no process takes it any more, and within two what runs or waits for it ends. A revoked key"
        " cannot be revived; its usage stays."
    ),
    done=_("Revoked %(keys)s."),
    apply=lambda keys, form: keys.revoke(),  # type: ignore[attr-defined]  # of the keys' own query set
    nothing=_("Nothing to revoke."),
    logged="Revoked.",
    is_danger=True,
)
PAUSE = Change(
    title=_("Pause"),
    question=ngettext_lazy("Pause this key?", "Pause %(number)d keys?", "number"),
    hint=_("Refused like a revoked key, until somebody resumes it. What runs for it ends."),
    done=_("Paused %(keys)s."),
    apply=_pause,
    form=PauseForm,
    concerns=lambda keys: keys.filter(paused_at=None),
    logged="Paused.",
)
QUARANTINE = Change(
    title=_("Quarantine"),
    question=ngettext_lazy("Put this key in quarantine?", "Put %(number)d keys in quarantine?", "number"),
    hint=_("Refused like a revoked key, until an operator resumes it; team leads cannot. What runs for it ends."),
    done=_("In quarantine: %(keys)s."),
    apply=_quarantine,
    form=QuarantineForm,
    concerns=lambda keys: keys.filter(quarantined_at=None),
    refused=lambda user, keys: "" if leads.is_operator(user) else _("Only operators put keys in quarantine."),
    logged="Put in quarantine.",
    is_danger=True,
)
RESUME = Change(
    title=_("Resume"),
    question=ngettext_lazy("Resume this key?", "Resume %(number)d keys?", "number"),
    hint=_("It works again within a second."),
    done=_("Resumed %(keys)s."),
    apply=_resume,
    concerns=lambda keys: keys.exclude(paused_at=None, quarantined_at=None),
    refused=_is_held,
    logged="Resumed.",
)
MOVE = Change(
    title=_("Move to a team"),
    question=ngettext_lazy("Move this key to a team?", "Move %(number)d keys to a team?", "number"),
    hint=_("Usage that is there already stays with the team of its time."),
    done=_("Moved %(keys)s."),
    apply=lambda keys, form: keys.update(**form.values()),
    form=TeamForm,
    logged="Moved to another team.",
)
SET_LIMITS = Change(
    title=_("Set limits"),
    question=ngettext_lazy("Set limits of this key?", "Set limits of %(number)d keys?", "number"),
    hint=_("What is left empty stays as it is; 0 removes a limit."),
    done=_("Set limits of %(keys)s."),
    apply=lambda keys, form: keys.update(**form.values()),
    form=LimitsForm,
    logged="Limits set.",
)
EXTEND = Change(
    title=_("Extend"),
    question=ngettext_lazy("Extend this key?", "Extend %(number)d keys?", "number"),
    hint=_("Keys that never expire stay as they are."),
    done=_("Extended %(keys)s."),
    apply=_extend,
    form=ExtendForm,
    concerns=lambda keys: keys.exclude(expires_at=None),
    nothing=_("None of these keys expires."),
    logged="Extended.",
)
