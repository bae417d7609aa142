"""Adding a user: who it is, what they may do, and a password or an invitation to choose one."""

from __future__ import annotations

from datetime import timedelta
from typing import Any, ClassVar, Final

from django import forms
from django.conf import settings
from django.contrib.admin import ModelAdmin
from django.contrib.auth.models import Group, User
from django.contrib.auth.password_validation import validate_password
from django.contrib.auth.tokens import default_token_generator
from django.core.exceptions import ValidationError
from django.http import HttpRequest, HttpResponse
from django.template.response import TemplateResponse
from django.urls import reverse
from django.utils import timezone
from django.utils.encoding import force_bytes
from django.utils.http import urlsafe_base64_encode
from django.utils.translation import gettext
from django.utils.translation import gettext_lazy as _
from unfold.decorators import action
from unfold.widgets import (
    UnfoldAdminCheckboxSelectMultipleWidget,
    UnfoldAdminEmailInputWidget,
    UnfoldAdminPasswordWidget,
    UnfoldAdminRadioSelectWidget,
    UnfoldAdminTextInputWidget,
)

from accounts.audit.entries import record
from accounts.models import Team
from accounts.roles.groups import OPERATOR, TEAM_LEAD, VIEWER
from gateway_project.lib.visible import visible

IN_WORDS: Final = {
    VIEWER: _("Viewer: sees all usage, keys, teams and instances, and changes nothing."),
    TEAM_LEAD: _("Team lead: makes and changes the keys of their own teams, and sees those teams' usage."),
    OPERATOR: _("Operator: changes everything but users and groups."),
}
NO_GROUP: Final = _("No group: sees the usage of their own teams, and nothing of this console.")
OTHER: Final = _("%(group)s: a group of this installation; its page says what it may do.")


class NewUserForm(forms.ModelForm):
    reader: Any
    """Who has sent the form: only superusers choose groups and teams."""

    group = forms.ChoiceField(label=_("May do"), required=False, widget=UnfoldAdminRadioSelectWidget())
    teams: Any = forms.ModelMultipleChoiceField(
        Team.objects.none(), label=_("Teams"), required=False, widget=UnfoldAdminCheckboxSelectMultipleWidget()
    )
    password1 = forms.CharField(
        label=_("Password"), required=False, strip=False,
        widget=UnfoldAdminPasswordWidget({"autocomplete": "new-password"}),
        help_text=_("Left empty, the next page has a link with which the user chooses one."),
    )  # fmt: skip
    password2 = forms.CharField(
        label=_("Password again"), required=False, strip=False,
        widget=UnfoldAdminPasswordWidget({"autocomplete": "new-password"}),
    )  # fmt: skip

    class Meta:
        model = User
        fields = ("username", "email")
        widgets: ClassVar = {"username": UnfoldAdminTextInputWidget(), "email": UnfoldAdminEmailInputWidget()}
        help_texts: ClassVar = {"username": ""}

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        if not self.reader.is_superuser:
            del self.fields["group"], self.fields["teams"]
            return
        self.fields["group"].choices = group_choices()  # type: ignore[attr-defined]  # the field is the one above
        self.fields["teams"].queryset = Team.objects.order_by("name")  # type: ignore[attr-defined]
        if not Team.objects.exists():
            self.fields["teams"].help_text = gettext("There are no teams yet.")

    def clean(self) -> dict[str, Any]:
        cleaned = super().clean() or {}
        first, again = cleaned.get("password1", ""), cleaned.get("password2", "")
        if first != again:
            self.add_error("password2", gettext("The two passwords are not the same."))
        elif first:
            try:
                validate_password(first, User(username=cleaned.get("username", ""), email=cleaned.get("email", "")))
            except ValidationError as exc:
                self.add_error("password1", exc)
        return cleaned

    def save(self, commit: bool = True) -> User:
        if password := self.cleaned_data["password1"]:
            self.instance.set_password(password)
        else:
            self.instance.set_unusable_password()
        # Groups are about the console, so who has one may come in.
        self.instance.is_staff = bool(self.cleaned_data.get("group"))
        user: User = super().save(commit)
        return user

    def _save_m2m(self) -> None:
        super()._save_m2m()  # type: ignore[misc]  # Django's, though without a place in the stubs
        if group := self.cleaned_data.get("group"):
            self.instance.groups.set([int(group)])
        if teams := self.cleaned_data.get("teams"):
            self.instance.teams.set(teams)


def is_superuser(request: HttpRequest) -> bool:
    return isinstance(request.user, User) and request.user.is_superuser


def group_choices() -> list[tuple[str, str]]:
    """From the least to the most, then those that this installation has made."""
    groups = {group.name: str(group.pk) for group in Group.objects.order_by("name")}
    shipped = [(groups.pop(name), str(words)) for name, words in IN_WORDS.items() if name in groups]
    others = [(pk, str(OTHER) % {"group": visible(name)}) for name, pk in groups.items()]
    return [("", str(NO_GROUP)), *shipped, *others]


class NewUsers:
    """A page of users that adds them by the short form, and invites those who have no password."""

    add_form = NewUserForm
    add_form_template: Any = None  # Django's own says that a second page follows
    actions_detail = ("invite",)

    def get_fieldsets(self, request: HttpRequest, obj: User | None = None) -> Any:
        if obj is not None:
            return super().get_fieldsets(request, obj)  # type: ignore[misc]  # a ModelAdmin's
        rights = ["group", "teams"] if is_superuser(request) else []
        return [(None, {"fields": ["username", "email", *rights, "password1", "password2"]})]

    def response_add(self, request: HttpRequest, obj: User, post_url_continue: str | None = None) -> HttpResponse:
        if not obj.has_usable_password():
            return self._invitation(request, obj)
        # Past the one of Django's own page of users, which goes on to the long form.
        answer: HttpResponse = ModelAdmin.response_add(self, request, obj, post_url_continue)  # type: ignore[arg-type]
        return answer

    def has_invite_permission(self, request: HttpRequest, object_id: Any = None) -> bool:
        """Of who has a password already, nobody."""
        page: Any = self
        user = page.get_object(request, str(object_id))
        return user is not None and not user.has_usable_password() and page.has_change_permission(request, user)

    @action(description=_("Invite"), url_path="invite", permissions=["invite"], icon="mail")
    def invite(self, request: HttpRequest, object_id: Any) -> HttpResponse:
        page: Any = self
        return self._invitation(request, page.get_object(request, str(object_id)))

    def _invitation(self, request: HttpRequest, user: User) -> HttpResponse:
        """The link, in this very response: whoever has it becomes this user."""
        page: Any = self
        record("invited", "auth.user", user.pk, user.get_username(), {})
        until = timezone.localtime(timezone.now() + timedelta(seconds=settings.PASSWORD_RESET_TIMEOUT))
        words = [urlsafe_base64_encode(force_bytes(user.pk)), default_token_generator.make_token(user)]
        context = page.admin_site.each_context(request) | {
            "title": gettext("Invitation"), "opts": page.opts, "invited": user,
            "address": request.build_absolute_uri(reverse("invitation", args=words)),
            "lasts": gettext("It works once, until %(time)s.") % {"time": f"{until:%Y-%m-%d %H:%M %Z}"},
        }  # fmt: skip
        answer = TemplateResponse(request, "admin/auth/user/invitation.html", context)
        answer["Cache-Control"] = "no-store"
        return answer
