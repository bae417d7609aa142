"""Logins of Lingma in the admin console: imported, given to instances, watched. What they consist of is never shown."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from datetime import UTC, datetime
from typing import Any, ClassVar, Final

from django import forms
from django.conf import settings
from django.contrib import admin, messages
from django.core.exceptions import ValidationError
from django.core.files.uploadedfile import UploadedFile
from django.db import transaction
from django.db.models import QuerySet
from django.http import HttpRequest, HttpResponse, HttpResponseRedirect
from django.template.response import TemplateResponse
from django.urls import reverse
from django.utils import timezone
from django.utils.formats import date_format
from django.utils.text import capfirst
from django.utils.translation import gettext, ngettext
from django.utils.translation import gettext_lazy as _
from unfold.admin import ModelAdmin
from unfold.decorators import action, display
from unfold.widgets import (
    UnfoldAdminCheckboxSelectMultipleWidget,
    UnfoldAdminFileFieldWidget,
    UnfoldAdminTextareaWidget,
)

from accounts.audit.history import AuditHistory
from bridge.admin.attempts import LoginAttempts
from bridge.fleet import logins
from bridge.fleet.login_refresh import next_at, with_facts
from bridge.fleet.logins import LARGEST_CREDENTIALS
from bridge.logins.bundle import LARGEST, BadBundle, Bundle, from_zip, of_two
from bridge.models import TIMES, Login, LoginRefresh
from bridge.status.accounts import AccountState, Remedy
from bridge.status.logins import LoginKind, LoginProblem
from gateway_project.lib.pages.cells import ago, cut
from gateway_project.lib.pages.lookups import ClosedLookups
from gateway_project.lib.translated import translated

COLOURS: Final = {
    Remedy.NONE: "success",
    Remedy.LOGIN: "danger",
    Remedy.TIME: "warning",
    Remedy.ADMINISTRATOR: "danger",
}
BADGES: Final[Mapping[str, str]] = {each.value: COLOURS[each.remedy] for each in AccountState} | {"unknown": "info"}
FILES: Final = ("archive", "user_file", "id_file", "credentials_file", "credentials_text")


def _file(label: Any, help_text: Any = "") -> forms.FileField:
    return forms.FileField(label=label, help_text=help_text, required=False, widget=UnfoldAdminFileFieldWidget)


class ShownNames(forms.HiddenInput):
    """What the page has shown as chosen, also where that was nothing."""

    def format_value(self, value: Any) -> str:
        return ",".join(value or ())

    def value_from_datadict(self, data: Any, files: Any, name: str) -> list[str]:
        return [each for each in data.get(name, "").split(",") if each]


class LoginForm(forms.ModelForm):
    """Files are taken and never given out again."""

    instances = forms.MultipleChoiceField(
        label=_("Instances"), required=False, widget=UnfoldAdminCheckboxSelectMultipleWidget,
        help_text=_(
            "A successor with this login takes the place of each when it works. An instance has one login at most."
        ),
    )  # fmt: skip
    archive = _file(_("ZIP archive"), _("Of a work directory that is logged in, or of a folder with user and id."))
    user_file = _file("cache/user")
    id_file = _file("cache/id", _("The two files without an archive: they belong together."))
    credentials_file = _file(
        _("Credentials"),
        _("Lines: a personal token; or access key, secret key, organisation; or user name, password."),
    )

    credentials_text = forms.CharField(
        label=_("Credentials as text"), required=False, max_length=LARGEST_CREDENTIALS, strip=False,
        help_text=_("The same lines, instead of a file."),
        widget=UnfoldAdminTextareaWidget({"rows": 3, "autocomplete": "off", "spellcheck": "false"}),
    )  # fmt: skip

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self.bundle: Bundle | None = None
        self.credentials = b""
        # What holds where a field is left empty.
        for name, value in LoginRefresh.times(settings.LOGIN_REFRESH).items():
            if name in self.fields:
                self.fields[name].widget.attrs["placeholder"] = f"{value:g}"
        if "instances" not in self.fields:
            return  # who may only look has no fields
        mine = self.instance.instances if self.instance.pk else []
        others = {each.name for each in logins.instances_there(settings.REDIS_URL)}
        names: Any = self.fields["instances"]
        names.choices = [(name, name) for name in sorted(others.union(mine))]
        names.initial = mine
        names.hidden_widget = ShownNames
        names.show_hidden_initial = not self.is_bound or self.add_initial_prefix("instances") in self.data

    def names_after(self, before: Collection[str]) -> set[str]:
        """The instances that are to have it: what the page did not change stays as others have made it meanwhile."""
        chosen = set(self.cleaned_data.get("instances", ()))
        if not self.fields["instances"].show_hidden_initial:
            return chosen
        shown = set(ShownNames().value_from_datadict(self.data, self.files, self.add_initial_prefix("instances")))
        return {*before, *(chosen - shown)} - (shown - chosen)

    def clean(self) -> dict[str, Any]:
        found: dict[str, Any] = super().clean() or {}
        given = {name: found.get(name) for name in FILES}
        try:
            self.bundle = _bundle(given)
        except BadBundle as exc:
            self.add_error("archive" if given["archive"] else "user_file", translated(exc.text))
        self._read_credentials(given["credentials_file"], found.get("credentials_text") or "", found.get("kind"))
        return found

    def _read_credentials(self, file: UploadedFile | None, text: str, kind: str | None) -> None:
        given = file.read(LARGEST_CREDENTIALS + 1) if file is not None else text.encode()
        if kind is None:
            return
        if not given:
            self._check_kind(LoginKind(kind))
            return
        if not LoginKind(kind).has_credentials:
            self.add_error("kind", gettext("A login of this kind has no credentials."))
            return
        try:
            logins.check_credentials(LoginKind(kind), given)
        except ValidationError as exc:
            self.add_error("credentials_text" if file is None else "credentials_file", exc)
        else:
            self.credentials = given

    def _check_kind(self, kind: LoginKind) -> None:
        try:
            logins.check_kind(self.instance, kind)
        except ValidationError as exc:
            self.add_error("kind", exc)


def _bundle(given: Mapping[str, UploadedFile | None]) -> Bundle | None:
    """Raise BadBundle."""
    archive, user, identity = (given[name] for name in FILES[:3])
    if archive is not None:
        return from_zip(archive.read(LARGEST + 1))
    if user is None and identity is None:
        return None
    return of_two(*(b"" if each is None else each.read(LARGEST + 1) for each in (user, identity)))


@admin.register(Login)
class LoginAdmin(LoginAttempts, AuditHistory, ClosedLookups, ModelAdmin):
    form = LoginForm
    list_display = ("header", "state", "ends", "next_login", "generation", "used_by", "wrong")
    list_filter = ("kind", "account")
    search_fields = ("label", "endpoint")
    list_per_page = 100
    readonly_fields = (
        "account", "latest_attempt", "ends", "next_login", "generation", "used_by", "wrong", "refreshed_at",
        "reported_at",
    )  # fmt: skip
    actions_list: ClassVar = ["spread", "refresh_of_all"]
    empty_icon = "badge"
    empty_title = _("No logins")
    empty_hint = _(
        "Instances use the login that their work directory has. Import one here to keep it safe, to give it to several "
        "instances, and to have what Lingma renews stored again."
    )

    def get_queryset(self, request: HttpRequest) -> QuerySet[Login]:
        found: QuerySet[Login] = super().get_queryset(request)
        return with_facts(found).prefetch_related("orders")

    def get_readonly_fields(self, request: HttpRequest, obj: Login | None = None) -> Any:
        """Where the files are taken to is for superusers: whoever sets it gets them, and what is asked with them."""
        fixed = tuple(super().get_readonly_fields(request, obj))
        return fixed if request.user.is_superuser else (*fixed, "endpoint")

    def get_fieldsets(self, request: HttpRequest, obj: Login | None = None) -> Any:
        """Who may only look sees no fields for files."""
        may_write = self.has_change_permission(request, obj) if obj else self.has_add_permission(request)
        sets: list[Any] = [(None, {"fields": ["label", ("kind", "endpoint"), *(["instances"] if may_write else [])]})]
        if obj is not None:
            facts = [
                "account",
                "latest_attempt",
                ("ends", "next_login"),
                "generation",
                "wrong",
                ("refreshed_at", "reported_at"),
            ]
            if not may_write:
                facts.insert(0, "used_by")
            sets.insert(0 if not may_write else 1, (_("State"), {"fields": facts}))
        if may_write:
            words = _("They are encrypted and cannot be taken out again. Left empty, what is stored stays.")
            sets.append((_("Files"), {"fields": list(FILES), "description": words}))
            words = _("With a personal token, an access key or a stored password it is made again by itself.")
            sets.append((_("Refresh"), {"fields": list(TIMES), "description": words}))
        return sets

    def save_model(self, request: HttpRequest, obj: Login, form: Any, change: bool) -> None:
        """Only what was entered: web processes may have stored another generation meanwhile."""
        columns = ["label", "kind", "endpoint", *TIMES]
        with transaction.atomic():
            if form.bundle is not None:
                if change:
                    obj.generation = (
                        Login.objects.select_for_update().values_list("generation", flat=True).get(pk=obj.pk)
                    )
                obj.take(form.bundle.packed())
                columns += [
                    "bundle",
                    "generation",
                    "brought_generation",
                    "refreshed_at",
                    "account",
                    "expires_at",
                    "problem",
                ]
            if form.credentials:
                obj.credentials = logins.sealed(form.credentials)
                columns.append("credentials")
            obj.save(**({"update_fields": columns} if change else {}))
            before = obj.orders.values_list("name", flat=True)
            logins.assign(obj, form.names_after(before), settings.REDIS_URL)

    def delete_queryset(self, request: HttpRequest, queryset: QuerySet[Login]) -> None:
        """One by one, so that web processes hear of each."""
        for login in queryset:
            login.delete()

    @action(description=_("Spread over instances"), permissions=["change"], url_path="spread", icon="share")
    def spread(self, request: HttpRequest) -> HttpResponse:
        """Asks first: a GET changes nothing."""
        if request.method == "POST":
            given = logins.spread(settings.REDIS_URL)
            done = ngettext("%(count)d instance has got a login.", "%(count)d instances have got a login.", len(given))
            messages.success(request, done % {"count": len(given)})
            return HttpResponseRedirect(reverse("admin:bridge_login_changelist"))
        context = self.admin_site.each_context(request) | {
            "title": gettext("Spread over instances"), "opts": self.opts,
            "pairs": [(name, login.label) for name, login in logins.spreading(settings.REDIS_URL).items()],
        }  # fmt: skip
        return TemplateResponse(request, "admin/bridge/login/spread.html", context)

    @action(description=_("Refresh of all logins"), permissions=["refresh_of_all"], url_path="refresh", icon="update")
    def refresh_of_all(self, request: HttpRequest) -> HttpResponse:
        return HttpResponseRedirect(reverse("admin:bridge_loginrefresh_changelist"))

    def has_refresh_of_all_permission(self, request: HttpRequest, object_id: Any = None) -> bool:
        return request.user.has_perm("bridge.view_loginrefresh")

    @display(description=_("Login"), header=True, ordering="label")
    def header(self, obj: Login) -> tuple[str, str]:
        return cut(obj.label), str(obj.get_kind_display())

    @display(description=_("State"), ordering="account", label=BADGES)
    def state(self, obj: Login) -> tuple[str, str]:
        return obj.account, str(obj.get_account_display())

    @display(description=_("Login ends"), ordering="expires_at")
    def ends(self, obj: Login) -> str | None:
        if obj.expires_at is None:
            return None
        if obj.expires_at <= timezone.now():
            return ago(obj.expires_at)
        if timezone.localdate(obj.expires_at) == timezone.localdate():
            return gettext("today")
        days = max(1, (obj.expires_at - timezone.now()).days)
        return ngettext("in %(days)d day", "in %(days)d days", days) % {"days": days}

    @display(description=_("Made again"))
    def next_login(self, obj: Login) -> str | None:
        at = next_at(obj, settings.LOGIN_REFRESH)
        if not at:
            return None
        due = datetime.fromtimestamp(at, UTC)
        return gettext("now") if due <= timezone.now() else date_format(timezone.localtime(due), "DATETIME_FORMAT")

    @display(description=_("Instances"))
    def used_by(self, obj: Login) -> str | None:
        return ", ".join(obj.instances) or None

    @display(description=_("Last error"))
    def wrong(self, obj: Login) -> str | None:
        """With what to do."""
        problem, account = LoginProblem(obj.problem), AccountState(obj.account)
        if problem:
            return _with_advice(problem.label, problem.advice)
        if not obj.generation:
            return gettext("It has no files yet: log in, import them, or give it to an instance that is logged in.")
        if account.remedy is Remedy.NONE or not account.advice:
            return None
        return _with_advice(account.label, account.advice)


def _with_advice(problem: str, advice: str) -> str:
    return gettext("%(problem)s. %(advice)s") % {"problem": capfirst(gettext(problem)), "advice": gettext(advice)}
