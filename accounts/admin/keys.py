"""API keys in the admin console: made and shown once, changed, revoked."""

from __future__ import annotations

from typing import Any, ClassVar

from django.conf import settings
from django.contrib import admin, messages
from django.db.models import Case, When
from django.http import HttpRequest, HttpResponse, HttpResponseRedirect
from django.template.response import TemplateResponse
from django.urls import reverse
from django.utils import timezone
from django.utils.http import urlencode
from django.utils.translation import gettext, ngettext
from django.utils.translation import gettext_lazy as _
from unfold.admin import ModelAdmin
from unfold.contrib.filters.admin import DropdownFilter
from unfold.decorators import display

from accounts.admin.alerts import alerts_of
from accounts.admin.key_actions import KeyActions
from accounts.admin.key_content import KeyContents
from accounts.admin.key_figures import KeyFigures
from accounts.admin.key_form import POLICY_SETS, ApiKeyForm, PolicyPage
from accounts.admin.key_search import KeySearch
from accounts.admin.key_usage import usage_of_key
from accounts.admin.leads import OwnKeys, TeamFilter
from accounts.admin.limits import LimitsNow
from accounts.apps import accounts_config
from accounts.audit.history import AuditHistory
from accounts.keys import services
from accounts.keys.snippets import PLACEHOLDER, Setup, setups_of
from accounts.keys.standing import standing
from accounts.models import LIMITS, ApiKey, Policy
from accounts.reports.visibility import visible_to
from gateway_project.lib.pages.cells import ago, cut, lasting
from gateway_project.lib.pages.lookups import ClosedLookups

PLAYGROUND = "playground"
"""Keys of the playground come last, and are no live keys to count: each is of one person, for an hour."""
STATE_COLOURS = {
    ApiKey.State.LIVE.value: "success",
    ApiKey.State.PAUSED.value: "info",
    ApiKey.State.QUARANTINED.value: "danger",
    ApiKey.State.EXPIRED.value: "warning",
    ApiKey.State.REVOKED.value: "danger",
    PLAYGROUND: "info",
}


class StateFilter(DropdownFilter):
    title = _("state")
    parameter_name = "state"

    def lookups(self, request: HttpRequest, model_admin: Any) -> list[tuple[str, str]]:
        more = [
            ("soon", gettext("expires soon")), ("idle", gettext("live, not used for 30 days")),
            (PLAYGROUND, gettext("live, of the playground")),
        ]  # fmt: skip
        return [*((state.value, str(state.label)) for state in ApiKey.State), *more]

    def queryset(self, request: HttpRequest, queryset: Any) -> Any:
        match self.value():
            case "soon":
                return queryset.expiring_soon(timezone.now())
            case "idle":
                return queryset.idle(timezone.now())
            case ApiKey.State.LIVE.value:
                return queryset.live(timezone.now())
            case str(state) if state == PLAYGROUND:
                return queryset.usable(timezone.now()).exclude(playground_user=None)
            case state if state in ApiKey.State.values:
                return queryset.in_state(state, timezone.now())
            case _:
                return queryset


def limits_of(policy: Policy) -> str | None:
    """The limits of a key or a team in a cell; None when there are none."""
    texts = {
        "rpm": gettext("%(limit)s rpm"), "tpm": gettext("%(limit)s tpm"), "concurrency": gettext("%(limit)s at once"),
    }  # fmt: skip
    limits = [text % {"limit": f"{value:,}"} for name, text in texts.items() if (value := getattr(policy, name))]
    if any(getattr(policy, name) for name in LIMITS if name not in texts):
        limits.append(gettext("budgets"))
    return ", ".join(limits) or None


def usage_links(user: Any, key: ApiKey) -> list[tuple[str, str]]:
    """Where the usage of the key is shown, for who may see usage."""
    if visible_to(user).nothing:
        return []
    return [
        (gettext("Usage of the last 30 days"), usage_of("key", key.pk)),
        (gettext("What it was refused"), usage_of("key", key.pk, status="refused")),
    ]


def usage_of(what: str, pk: int, **filters: str) -> str:
    """The address of the usage of a key or a team in the last 30 days."""
    return f"{reverse('usage')}?{urlencode({what: str(pk), 'range': '30d', **filters})}"


# In the order in which they ask each other: KeyFigures adds to the keys that OwnKeys leaves, and OwnKeys must see
# what all others would show.
@admin.register(ApiKey)
class ApiKeyAdmin(
    KeyActions, KeyContents, KeySearch, KeyFigures, PolicyPage, LimitsNow, OwnKeys, AuditHistory, ClosedLookups,
    ModelAdmin,
):  # fmt: skip
    """A key is made, shown once, changed, and in the end revoked; never deleted, for its usage stays."""

    form = ApiKeyForm
    list_display = ("header", "team_name", "state_label", "limits", "turns", "hits", "expires", "last_use")
    list_filter: ClassVar = [StateFilter, ("team", TeamFilter)]
    list_filter_submit = True
    list_select_related: ClassVar = ["team"]
    list_per_page = 50
    ordering = (Case(When(playground_user=None, then=0), default=1).asc(), "-created_at")
    search_fields = ("name", "hint", "team__name")
    autocomplete_fields = ("team",)
    readonly_fields = (
        "hint", "state_name", "created_at", "revoked_at", "first_used_at", "previous_until", "last_used",
    )  # fmt: skip
    fieldsets: ClassVar = [
        (None, {"fields": [("name", "team"), "expires_at", "expires_after_days"]}),
        *POLICY_SETS,
        (_("Content"), {"fields": ["content_logging"]}),
    ]
    facts: ClassVar = (
        _("Facts"),
        {
            "fields": [
                ("hint", "state_name"),
                ("created_at", "revoked_at"),
                ("first_used_at", "last_used"),
                "previous_until",
            ]
        },
    )

    class Media:
        js = ("accounts/copy.js",)

    change_form_outer_before_template = "admin/accounts/standing.html"
    change_form_outer_after_template = "admin/accounts/apikey/usage.html"
    empty_icon = "key"
    empty_title = _("No keys yet")
    empty_hint = _("A key lets a person or a program use the gateway. It is shown once, with set-ups ready to paste.")

    def has_delete_permission(self, request: HttpRequest, obj: ApiKey | None = None) -> bool:
        return False

    def has_change_permission(self, request: HttpRequest, obj: ApiKey | None = None) -> bool:
        # Its usage rows point at it: an edit would change what they seem to say.
        # unfold asks for its buttons, with an id in place of the key; what they do leaves revoked keys alone.
        if isinstance(obj, ApiKey) and obj.revoked_at is not None:
            return False
        return bool(super().has_change_permission(request, obj))

    def get_fieldsets(self, request: HttpRequest, obj: ApiKey | None = None) -> Any:
        return [*self.fieldsets, self.facts] if obj else self.fieldsets

    def add_view(self, request: HttpRequest, form_url: str = "", extra_context: Any = None) -> HttpResponse:
        buttons = {"show_save_and_add_another": False, "show_save_and_continue": False}
        page: HttpResponse = super().add_view(request, form_url, (extra_context or {}) | buttons)
        return page

    def change_view(
        self, request: HttpRequest, object_id: str, form_url: str = "", extra_context: Any = None
    ) -> HttpResponse:
        """With how the key stands, in a sentence."""
        key = self.get_object(request, object_id)
        if request.method == "POST" and key and key.revoked_at is not None and self.has_change_permission(request):
            # While the form was filled in: Django would say that the user lacks a permission.
            messages.error(request, gettext("The key is revoked."))
            return HttpResponseRedirect(reverse("admin:accounts_apikey_change", args=[key.pk]))
        shown = self._about(request, key) if key else {}
        page: HttpResponse = super().change_view(request, object_id, form_url, (extra_context or {}) | shown)
        return page

    def _about(self, request: HttpRequest, key: ApiKey) -> dict[str, Any]:
        return {
            "standing": standing(key, timezone.now()),
            "usage_links": usage_links(request.user, key),
            "setups": self._setups(request, key, PLACEHOLDER) if key.revoked_at is None else [],
            "placeholder": PLACEHOLDER,
            "key_alerts": alerts_of(request.user, key),
            "key_usage": usage_of_key(request, key),
        }

    def save_model(self, request: HttpRequest, obj: Any, form: Any, change: bool) -> None:
        """Give a new key its secret, which stays in memory until the page that shows it is made."""
        if not change:
            # On the object alone: it is no column, and neither session nor message may hold it.
            obj.secret = services.create(obj)
        elif form.changed_data:
            # Not the whole row: the key may have been rotated or paused since it was read.
            obj.save(update_fields=form.changed_data)
        self.warn_of_unknown_models(request, obj, form)

    def response_add(self, request: HttpRequest, obj: Any, post_url_continue: str | None = None) -> HttpResponse:
        return self.show_once(request, obj)

    def show_once(self, request: HttpRequest, key: Any) -> HttpResponse:
        """Show the secret, in this very response and never again."""
        context = self.admin_site.each_context(request) | {
            "title": gettext("Copy the key"),
            "opts": self.opts,
            "key": key,
            "secret": key.secret,
            "standing": standing(key, timezone.now()) if key.previous_until else "",
            "setups": self._setups(request, key, key.secret),
        }
        page = TemplateResponse(request, "admin/accounts/apikey/once.html", context)
        # The browser must not show the secret again on "back".
        page["Cache-Control"] = "no-store"
        return page

    def _setups(self, request: HttpRequest, key: ApiKey, secret: str) -> list[Setup]:
        base_url = request.build_absolute_uri("/").rstrip("/")
        allowed, offered = key.policy("allowed_models"), accounts_config().offered_models()
        return setups_of(allowed, base_url, secret, settings.ENV.default_model, offered)

    @display(description=_("Key"), header=True, ordering="name")
    def header(self, obj: ApiKey) -> tuple[str, str]:
        return cut(obj.name), obj.hint

    @display(description=_("Team"), ordering="team__name")
    def team_name(self, obj: ApiKey) -> str | None:
        return cut(obj.team.name) if obj.team else None

    @display(description=_("State"), label=STATE_COLOURS)
    def state_label(self, obj: ApiKey) -> tuple[str, str]:
        state = obj.state(timezone.now())
        if state == ApiKey.State.LIVE and obj.playground_user_id is not None:
            return PLAYGROUND, gettext("playground")
        return state.value, str(state.label)

    @display(description=_("State"))
    def state_name(self, obj: ApiKey) -> str:
        """For its own page, which knows no coloured labels."""
        return str(obj.state(timezone.now()).label)

    @display(description=_("Limits"))
    def limits(self, obj: ApiKey) -> str | None:
        return limits_of(obj)

    @display(description=_("Expires"), ordering="expires_at")
    def expires(self, obj: ApiKey) -> str | None:
        if obj.expires_at is None:
            if not obj.expires_after_days:
                return None
            days = obj.expires_after_days
            text = ngettext("%(days)d day from first use", "%(days)d days from first use", days)
            return text % {"days": days}
        if obj.state(timezone.now()) == ApiKey.State.LIVE:
            return gettext("in %(time)s") % {"time": lasting(timezone.now(), obj.expires_at)}
        return ago(obj.expires_at) if obj.expires_at <= timezone.now() else None

    @display(description=_("Last used"), ordering="last_used_at", header=True)
    def last_use(self, obj: ApiKey) -> tuple[str, str]:
        """In two lines, for the list."""
        return ago(obj.last_used_at) if obj.last_used_at else "–", obj.last_used_from

    @display(description=_("Last used"))
    def last_used(self, obj: ApiKey) -> str | None:
        if obj.last_used_at is None:
            return None
        if not obj.last_used_from:
            return ago(obj.last_used_at)
        return gettext("%(ago)s from %(address)s") % {"ago": ago(obj.last_used_at), "address": obj.last_used_from}
