"""The forms of keys and teams: what they may do, with boxes where there are few known words."""

from __future__ import annotations

from collections.abc import Iterable
from datetime import datetime
from typing import Any

from django import forms
from django.contrib import messages
from django.contrib.admin.widgets import AutocompleteMixin
from django.db.models import DateTimeField
from django.http import HttpRequest
from django.utils import timezone
from django.utils.text import capfirst
from django.utils.translation import gettext
from django.utils.translation import gettext_lazy as _
from unfold.widgets import UnfoldAdminCheckboxSelectMultipleWidget

from accounts.keys.model_names import warning_of
from accounts.models import LIMITS, NAME_TAKEN, SCOPES, ApiKey, Policy, names_in, validate_name
from gateway_project.lib.pages.clock_times import ClockTimeField

SCOPE_LABELS = {"metrics": _("metrics: the key may read /metrics")}
POLICY_SETS: Any = [
    (_("What it may do"), {"fields": ["allowed_models", "allowed_networks", "scopes", ("tool_mode", "tool_approval")]}),
    (_("Limits"), {"fields": [("rpm", "tpm", "concurrency")]}),
    (
        _("Budgets by the calendar"),
        {
            "fields": [
                ("requests_day", "requests_week", "requests_month"),
                ("tokens_day", "tokens_week", "tokens_month"),
            ]
        },
    ),
    (_("Limits on trial"), {"fields": ["shadow"]}),
]


class BoxesField(forms.MultipleChoiceField):
    """A column with comma-separated words, as boxes."""

    widget = UnfoldAdminCheckboxSelectMultipleWidget

    def prepare_value(self, value: Any) -> list[str]:
        return names_in(value) if isinstance(value, str) else list(value or ())

    def clean(self, value: Any) -> Any:
        return ", ".join(super().clean([word for word in value or () if word]))

    def has_changed(self, initial: Any, data: Any) -> bool:
        return set(self.prepare_value(initial)) != {word for word in data or () if word}


def limit_choices() -> Iterable[tuple[str, str]]:
    columns: dict[str, Any] = {name: Policy._meta.get_field(name) for name in LIMITS}
    return [(name, str(column.verbose_name)) for name, column in columns.items()]


class PolicyPage:
    """A mixin for the pages of keys and teams: columns with known words are boxes."""

    def formfield_for_dbfield(self, db_field: Any, request: Any, **kwargs: Any) -> Any:
        if db_field.name == "scopes":
            return BoxesField(
                label=capfirst(db_field.verbose_name),
                choices=lambda: [(name, SCOPE_LABELS.get(name, name)) for name in SCOPES],
                required=False,
                help_text=_("What the key opens besides chats."),
                error_messages={"invalid_choice": _("There is no scope %(value)s. Known: metrics.")},
            )
        if db_field.name == "shadow":
            return BoxesField(
                label=capfirst(db_field.verbose_name),
                choices=limit_choices,
                required=False,
                help_text=_("These limits are counted and shown, but refuse nobody."),
            )
        if isinstance(db_field, DateTimeField):
            kwargs["form_class"] = ClockTimeField
        field = super().formfield_for_dbfield(db_field, request, **kwargs)  # type: ignore[misc]  # a ModelAdmin's
        # People enter times in the zone that pages show, and need to know which that is.
        if isinstance(db_field, DateTimeField) and field is not None:
            zone = gettext("In %(zone)s.") % {"zone": timezone.get_current_timezone_name()}
            field.help_text = f"{field.help_text} {zone}".strip()
        if db_field.remote_field is not None and field is not None:
            suggest_by_numbers(field)
        return field

    def warn_of_unknown_models(self, request: HttpRequest, owner: Policy, form: Any) -> None:
        """Only where the list was changed: one that was right once is not complained of at each edit."""
        if "allowed_models" in form.changed_data and (warning := warning_of(owner.allowed_models)):
            messages.warning(request, warning)


def suggest_by_numbers(field: Any) -> None:
    """Let a field with suggestions take what no id can be for nothing; Django's own would ask the table for it."""
    widget = getattr(field.widget, "widget", field.widget)  # that with buttons beside has the other inside
    if isinstance(widget, AutocompleteMixin):
        # The very widget has its choices and its page already, so its class is changed instead of making another.
        widget.__class__ = type("SuggestedNumbers", (NumbersAlone, type(widget)), {})


class NumbersAlone:
    """A mixin for widgets with suggestions."""

    def optgroups(self, name: str, value: Any, attrs: Any = None) -> Any:
        numbers = [each for each in value if not each or str(each).isdecimal()]
        return super().optgroups(name, numbers, attrs)  # type: ignore[misc]  # a widget's


class PolicyForm(forms.ModelForm):
    """What keys and teams have in common. An empty limit is none."""

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        for name in LIMITS:
            if name in self.fields:
                # The columns have 0 for none, and people leave a field empty.
                self.fields[name].required = False

    def clean(self) -> dict[str, Any] | None:
        cleaned = super().clean()
        for name in LIMITS:
            if self.cleaned_data.get(name, 0) is None:
                self.cleaned_data[name] = 0
        return cleaned

    def clean_allowed_models(self) -> str:
        return ", ".join(names_in(self.cleaned_data["allowed_models"]))

    def clean_allowed_networks(self) -> str:
        return ", ".join(names_in(self.cleaned_data["allowed_networks"]))

    def clean_tool_approval(self) -> str:
        text: str = self.cleaned_data["tool_approval"]
        return text.strip()

    def clean_name(self) -> str:
        """An invisible name would be an empty-looking row; old ones may stay."""
        name: str = self.cleaned_data["name"]
        if "name" in self.changed_data:
            validate_name(name)
        return name


class ApiKeyForm(PolicyForm):
    def clean(self) -> dict[str, Any] | None:
        """Names are checked here, since forms leave out constraints on fields they do not show."""
        cleaned = super().clean()
        key = ApiKey(pk=self.instance.pk, name=self.cleaned_data.get("name", self.instance.name))
        key.team_id = getattr(self.cleaned_data.get("team", self.instance.team), "pk", None)
        if "name" not in self.errors and ApiKey.objects.namesakes(key).exists():
            self.add_error("name" if "name" in self.fields else None, NAME_TAKEN)
        return cleaned

    def clean_expires_at(self) -> datetime | None:
        """Refuse a new expiry in the past; an old one that has passed may stay."""
        if self.instance.pk and "expires_at" not in self.changed_data:
            # To the second, and of an hour that comes twice, the form says less than the row.
            kept: datetime | None = self.instance.expires_at
            return kept
        expires_at: datetime | None = self.cleaned_data["expires_at"]
        if expires_at and expires_at <= timezone.now():
            raise forms.ValidationError(gettext("This time has passed."))
        return expires_at
