"""API keys in the admin console: made and shown once, changed, revoked."""

from __future__ import annotations

from datetime import datetime
from typing import Any, ClassVar

from django import forms
from django.conf import settings
from django.contrib import admin, messages
from django.db.models import QuerySet
from django.http import HttpRequest, HttpResponse, HttpResponseRedirect
from django.template.response import TemplateResponse
from django.urls import reverse
from django.utils import timezone
from django.utils.text import Truncator
from django.utils.timesince import timeuntil
from django.utils.translation import gettext
from django.utils.translation import gettext_lazy as _
from unfold.admin import ModelAdmin
from unfold.contrib.filters.admin import DropdownFilter
from unfold.decorators import action, display

from accounts.admin.leads import OwnKeys, TeamFilter
from accounts.admin.limits import LimitsNow
from accounts.apps import accounts_config
from accounts.audit.history import AuditHistory
from accounts.keys import services
from accounts.keys.snippets import setups_of
from accounts.models import ApiKey, names_in
from gateway_project.lib.cells import LONGEST, ago, cut
from gateway_project.lib.lookups import ClosedLookups
from gateway_project.lib.visible import visible

STATE_COLOURS = {
    ApiKey.State.LIVE.value: "success",
    ApiKey.State.EXPIRED.value: "warning",
    ApiKey.State.REVOKED.value: "danger",
}


class StateFilter(DropdownFilter):
    title = _("state")
    parameter_name = "state"

    def lookups(self, request: HttpRequest, model_admin: Any) -> list[tuple[str, str]]:
        return [(state.value, str(state.label)) for state in ApiKey.State]

    def queryset(self, request: HttpRequest, queryset: Any) -> Any:
        match self.value():
            case ApiKey.State.LIVE:
                return queryset.usable(timezone.now())
            case ApiKey.State.EXPIRED:
                return queryset.filter(revoked_at=None, expires_at__lte=timezone.now())
            case ApiKey.State.REVOKED:
                return queryset.exclude(revoked_at=None)
            case _:
                return queryset


class ApiKeyForm(forms.ModelForm):
    def clean_name(self) -> str:
        """Checked here, since forms leave out constraints on fields they do not show."""
        name: str = self.cleaned_data["name"]
        if ApiKey.objects.filter(name=name, revoked_at=None).exclude(pk=self.instance.pk).exists():
            raise forms.ValidationError(gettext("A live key has this name already."))
        return name

    def clean_allowed_models(self) -> str:
        return ", ".join(names_in(self.cleaned_data["allowed_models"]))

    def clean_scopes(self) -> str:
        return ", ".join(names_in(self.cleaned_data["scopes"]))

    def clean_expires_at(self) -> datetime | None:
        """Refuse a new expiry in the past; an old one that has passed may stay."""
        expires_at: datetime | None = self.cleaned_data["expires_at"]
        if expires_at and "expires_at" in self.changed_data and expires_at <= timezone.now():
            raise forms.ValidationError(gettext("This time has passed."))
        return expires_at


@admin.register(ApiKey)
class ApiKeyAdmin(LimitsNow, OwnKeys, AuditHistory, ClosedLookups, ModelAdmin):
    """A key is made, shown once, changed, and in the end revoked; never deleted, for its usage stays."""

    form = ApiKeyForm
    list_display = ("header", "team", "state_label", "limits", "expires", "last_used")
    list_filter: ClassVar = [StateFilter, ("team", TeamFilter)]
    list_filter_submit = True
    list_select_related: ClassVar = ["team"]
    list_per_page = 50
    search_fields = ("name", "hint", "team__name")
    autocomplete_fields = ("team",)
    readonly_fields = ("hint", "state_name", "created_at", "revoked_at", "last_used")
    fieldsets: ClassVar = [
        (None, {"fields": [("name", "team"), "expires_at"]}),
        (_("What it may do"), {"fields": ["allowed_models", "scopes", ("rpm", "tpm", "concurrency")]}),
    ]
    facts: ClassVar = (
        _("Facts"),
        {"fields": [("hint", "state_name"), ("created_at", "revoked_at"), "last_used"]},
    )
    actions: ClassVar = ["revoke_selected"]
    # A button for each row: revoking must be quick when a key has leaked.
    actions_row: ClassVar = ["revoke_one"]
    actions_detail: ClassVar = ["revoke_one"]
    empty_icon = "key"
    empty_title = _("No keys yet")
    empty_hint = _("A key lets a person or a program use the gateway. It is shown once, with set-ups ready to paste.")

    def has_delete_permission(self, request: HttpRequest, obj: ApiKey | None = None) -> bool:
        return False

    def has_change_permission(self, request: HttpRequest, obj: ApiKey | None = None) -> bool:
        # Its usage rows point at it: an edit would change what they seem to say.
        if isinstance(obj, ApiKey) and obj.revoked_at is not None:
            return False
        return bool(super().has_change_permission(request, obj))

    def get_fieldsets(self, request: HttpRequest, obj: ApiKey | None = None) -> Any:
        return [*self.fieldsets, self.facts] if obj else self.fieldsets

    def add_view(self, request: HttpRequest, form_url: str = "", extra_context: Any = None) -> HttpResponse:
        buttons = {"show_save_and_add_another": False, "show_save_and_continue": False}
        page: HttpResponse = super().add_view(request, form_url, (extra_context or {}) | buttons)
        return page

    def save_model(self, request: HttpRequest, obj: Any, form: Any, change: bool) -> None:
        """Give a new key its secret, which stays in memory until the page that shows it is made."""
        if change:
            super().save_model(request, obj, form, change)
        else:
            # On the object alone: it is no column, and neither session nor message may hold it.
            obj.secret = services.create(obj)
        # Only then: a key whose models were right once is not complained of at each edit.
        if "allowed_models" in form.changed_data:
            self._warn_of_unknown_models(request, obj)

    def _warn_of_unknown_models(self, request: HttpRequest, key: ApiKey) -> None:
        """A model that nobody offers may be right tomorrow, so this warns and does not refuse."""
        unknown_models = accounts_config().unknown_models(names_in(key.allowed_models))
        if unknown_models:
            warning = gettext("No model or alias has the name %(names)s now; requests for it get %(model)s.")
            names = ", ".join(Truncator(visible(name)).chars(LONGEST) for name in unknown_models)
            messages.warning(request, warning % {"names": names, "model": settings.ENV.default_model})

    def response_add(self, request: HttpRequest, obj: Any, post_url_continue: str | None = None) -> HttpResponse:
        """Show the secret, in this very response and never again."""
        base_url = request.build_absolute_uri("/").rstrip("/")
        context = self.admin_site.each_context(request) | {
            "title": gettext("Copy the key"),
            "opts": self.opts,
            "key": obj,
            "secret": obj.secret,
            "setups": setups_of(
                obj.allowed_models, base_url, obj.secret, settings.ENV.default_model, accounts_config().offered_models()
            ),
        }
        page = TemplateResponse(request, "admin/accounts/apikey/once.html", context)
        # The browser must not show the secret again on "back".
        page["Cache-Control"] = "no-store"
        return page

    @action(description=_("Revoke selected keys"), permissions=["change"])
    def revoke_selected(self, request: HttpRequest, queryset: QuerySet[ApiKey]) -> HttpResponse | None:
        return self._revoke(request, queryset, "revoke_selected")

    @action(description=_("Revoke"), permissions=["change"], url_path="revoke", icon="block")
    def revoke_one(self, request: HttpRequest, object_id: int) -> HttpResponse:
        page = self._revoke(request, self.get_queryset(request).filter(pk=object_id))
        return page or HttpResponseRedirect(reverse("admin:accounts_apikey_changelist"))

    def _revoke(self, request: HttpRequest, queryset: QuerySet[ApiKey], action_name: str = "") -> HttpResponse | None:
        # Again at the second step: another operator may have been faster meanwhile.
        live = self.may_change(request, queryset).filter(revoked_at=None)
        keys = list(live)
        if not keys:
            messages.info(request, gettext("Nothing to revoke."))
            return None
        # The first step, also a POST of the list, only asks; a GET changes nothing.
        if request.method == "POST" and request.POST.get("confirmed"):
            # By the ids that are logged below, not by the query set, which may find others by now.
            ApiKey.objects.filter(pk__in=[key.pk for key in keys]).revoke()
            for key in keys:
                self.log_change(request, key, "Revoked.")
            messages.success(request, gettext("Revoked %(keys)s.") % {"keys": ", ".join(map(str, keys))})
            return None
        context = self.admin_site.each_context(request) | {
            "title": gettext("Revoke"),
            "opts": self.opts,
            "keys": keys,
            "action_name": action_name,
        }
        return TemplateResponse(request, "admin/accounts/apikey/revoke.html", context)

    @display(description=_("Key"), header=True, ordering="name")
    def header(self, obj: ApiKey) -> tuple[str, str]:
        return cut(obj.name), obj.hint

    @display(description=_("State"), label=STATE_COLOURS)
    def state_label(self, obj: ApiKey) -> tuple[str, str]:
        state = obj.state(timezone.now())
        return state.value, str(state.label)

    @display(description=_("State"))
    def state_name(self, obj: ApiKey) -> str:
        """For its own page, which knows no coloured labels."""
        return str(obj.state(timezone.now()).label)

    @display(description=_("Limits"))
    def limits(self, obj: ApiKey) -> str | None:
        all_limits = (
            (obj.rpm, gettext("%(limit)s rpm")),
            (obj.tpm, gettext("%(limit)s tpm")),
            (obj.concurrency, gettext("%(limit)s at once")),
        )
        return ", ".join(text % {"limit": f"{limit:,}"} for limit, text in all_limits if limit) or None

    @display(description=_("Expires"), ordering="expires_at")
    def expires(self, obj: ApiKey) -> str | None:
        if obj.expires_at is None:
            return None
        if obj.state(timezone.now()) == ApiKey.State.LIVE:
            return gettext("in %(time)s") % {"time": timeuntil(obj.expires_at, depth=1)}
        return ago(obj.expires_at) if obj.expires_at <= timezone.now() else None

    @display(description=_("Last used"), ordering="last_used_at")
    def last_used(self, obj: ApiKey) -> str | None:
        if obj.last_used_at is None:
            return None
        if not obj.last_used_from:
            return ago(obj.last_used_at)
        return gettext("%(ago)s from %(address)s") % {"ago": ago(obj.last_used_at), "address": obj.last_used_from}
