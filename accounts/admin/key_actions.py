"""What is done to keys from their list and their pages: each asks first, and says afterwards what it did."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import timedelta
from typing import Any, ClassVar, Final

from django import forms
from django.contrib import messages
from django.db import transaction
from django.db.models import QuerySet
from django.http import HttpRequest, HttpResponse, HttpResponseRedirect
from django.template.response import TemplateResponse
from django.urls import reverse
from django.utils.translation import gettext
from django.utils.translation import gettext_lazy as _
from unfold.decorators import action
from unfold.widgets import UnfoldAdminRadioSelectWidget

from accounts.admin.key_changes import EXTEND, MOVE, PAUSE, QUARANTINE, RESUME, REVOKE, SET_LIMITS, Change
from accounts.keys import services
from accounts.models import ApiKey
from accounts.roles import leads

MOST: Final = 500
"""Keys that are changed at once: each is a field of the form that asks, and a row of the audit log."""
SHOWN: Final = 50
GRACES: Final = [("0", _("at once")), ("1", _("in an hour")), ("24", _("in a day")), ("168", _("in 7 days"))]
"""Hours. What the old secret still has when the new one is made."""


class RotateForm(forms.Form):
    grace = forms.ChoiceField(
        label=_("The old secret stops working"), choices=GRACES, initial="24", widget=UnfoldAdminRadioSelectWidget()
    )
    hint = forms.CharField(widget=forms.HiddenInput)
    """Of the secret that is to be replaced: a form that is sent again must not make one more."""


class KeyActions:
    """A mixin for the page of keys: one action for each button and each line of the list's menu."""

    actions: ClassVar = [
        "revoke_selected", "pause_selected", "quarantine_selected", "resume_selected", "move_selected",
        "limit_selected", "extend_selected",
    ]  # fmt: skip
    # Buttons for each row: it must be quick when a key has leaked.
    actions_row: ClassVar = ["revoke_one", "rotate_one", "quarantine_one"]
    actions_detail: ClassVar = ["rotate_one", "pause_one", "quarantine_one", "resume_one", "revoke_one"]

    def get_actions_detail(self, request: HttpRequest, object_id: Any) -> list[Any]:
        """Those that make sense for this key."""
        offered: list[Any] = super().get_actions_detail(request, object_id)  # type: ignore[misc]  # a ModelAdmin's
        keys = ApiKey.objects.filter(pk=object_id) if str(object_id).isdecimal() else ApiKey.objects.none()
        key = keys.first()
        if key is None or key.revoked_at is not None:
            return []
        senseless = tuple(_senseless(request.user, key))
        # unfold puts the name of the page in front of that of the action.
        return [each for each in offered if not each.action_name.endswith(senseless)]

    def get_actions(self, request: HttpRequest) -> Any:
        """Without what is for operators alone."""
        offered: dict[str, Any] = super().get_actions(request)  # type: ignore[misc]
        if not leads.is_operator(request.user):
            offered.pop("quarantine_selected", None)
        return offered

    @action(description=_("Revoke selected keys"), permissions=["change"])
    def revoke_selected(self, request: HttpRequest, queryset: QuerySet[ApiKey]) -> HttpResponse | None:
        return self._ask(request, queryset, REVOKE, "revoke_selected")

    @action(description=_("Pause selected keys"), permissions=["change"])
    def pause_selected(self, request: HttpRequest, queryset: QuerySet[ApiKey]) -> HttpResponse | None:
        return self._ask(request, queryset, PAUSE, "pause_selected")

    @action(description=_("Put selected keys in quarantine"), permissions=["change"])
    def quarantine_selected(self, request: HttpRequest, queryset: QuerySet[ApiKey]) -> HttpResponse | None:
        return self._ask(request, queryset, QUARANTINE, "quarantine_selected")

    @action(description=_("Resume selected keys"), permissions=["change"])
    def resume_selected(self, request: HttpRequest, queryset: QuerySet[ApiKey]) -> HttpResponse | None:
        return self._ask(request, queryset, RESUME, "resume_selected")

    @action(description=_("Move selected keys to a team"), permissions=["change"])
    def move_selected(self, request: HttpRequest, queryset: QuerySet[ApiKey]) -> HttpResponse | None:
        return self._ask(request, queryset, MOVE, "move_selected")

    @action(description=_("Set limits of selected keys"), permissions=["change"])
    def limit_selected(self, request: HttpRequest, queryset: QuerySet[ApiKey]) -> HttpResponse | None:
        return self._ask(request, queryset, SET_LIMITS, "limit_selected")

    @action(description=_("Extend selected keys"), permissions=["change"])
    def extend_selected(self, request: HttpRequest, queryset: QuerySet[ApiKey]) -> HttpResponse | None:
        return self._ask(request, queryset, EXTEND, "extend_selected")

    @action(description=_("Revoke"), permissions=["change"], url_path="revoke", icon="block")
    def revoke_one(self, request: HttpRequest, object_id: int) -> HttpResponse:
        return self._ask(request, self._one(request, object_id), REVOKE) or _to_list()

    @action(description=_("Pause"), permissions=["change"], url_path="pause", icon="pause_circle")
    def pause_one(self, request: HttpRequest, object_id: int) -> HttpResponse:
        return self._ask(request, self._one(request, object_id), PAUSE) or _to_page(object_id)

    @action(description=_("Quarantine"), permissions=["change"], url_path="quarantine", icon="gpp_maybe")
    def quarantine_one(self, request: HttpRequest, object_id: int) -> HttpResponse:
        return self._ask(request, self._one(request, object_id), QUARANTINE) or _to_page(object_id)

    @action(description=_("Resume"), permissions=["change"], url_path="resume", icon="play_circle")
    def resume_one(self, request: HttpRequest, object_id: int) -> HttpResponse:
        return self._ask(request, self._one(request, object_id), RESUME) or _to_page(object_id)

    @action(description=_("Rotate"), permissions=["change"], url_path="rotate", icon="autorenew")
    def rotate_one(self, request: HttpRequest, object_id: int) -> HttpResponse:
        """Ask for the grace; then show the new secret, in this very response and never again."""
        page: Any = self
        key = page.may_change(request, self._one(request, object_id)).filter(revoked_at=None).first()
        if key is None:
            return _none_to_rotate(request)
        form = RotateForm(request.POST if request.method == "POST" else None, initial={"hint": key.hint})
        if not form.is_valid():
            context = page.admin_site.each_context(request)
            context |= {"title": gettext("Rotate"), "opts": page.opts, "key": key, "form": form}
            return TemplateResponse(request, "admin/accounts/apikey/rotate.html", context)
        grace, hint = timedelta(hours=int(form.cleaned_data["grace"])), form.cleaned_data["hint"]
        try:
            key.secret = services.rotate(key, grace, hint)
        except services.KeyRevoked:  # since it was read above
            return _none_to_rotate(request)
        except services.KeyRotated:  # by somebody else, or by this form: a reload of the page with the secret sends it
            messages.info(request, gettext("This key has a new secret already; it is not shown again."))
            return _to_page(object_id)
        page.log_change(request, key, "Rotated.")
        shown: HttpResponse = page.show_once(request, key)
        return shown

    def _one(self, request: HttpRequest, object_id: Any) -> QuerySet[ApiKey]:
        page: Any = self
        keys: QuerySet[ApiKey] = page.get_queryset(request)
        # A part of the address, which may be anything.
        return keys.filter(pk=object_id) if str(object_id).isdecimal() else keys.none()

    def _ask(
        self, request: HttpRequest, queryset: QuerySet[ApiKey], change: Change, action_name: str = ""
    ) -> HttpResponse | None:
        """The first step, also a POST of the list, only asks; a GET changes nothing. None when there is no question."""
        page: Any = self
        # Again at the second step: another operator may have been faster meanwhile.
        keys = list(change.concerns(page.may_change(request, queryset).filter(revoked_at=None))[: MOST + 1])
        if not keys:
            messages.info(request, change.nothing or gettext("There is nothing to change."))
            return None
        if len(keys) > MOST:
            messages.error(request, gettext("At most %(most)d keys at once.") % {"most": MOST})
            return None
        if refusal := change.refused(request.user, keys):
            messages.error(request, refusal)
            return None
        confirmed = request.method == "POST" and bool(request.POST.get("confirmed"))
        # The first POST is that of the list, whose fields are none of this form.
        form = change.form(request.POST if confirmed else None, user=request.user, keys=keys)
        if confirmed and form.is_valid():
            self._do(request, keys, change, form)
            return None
        context = page.admin_site.each_context(request) | {
            "title": change.title, "opts": page.opts, "keys": keys, "shown": keys[:SHOWN], "more": len(keys) - SHOWN,
            "action_name": action_name, "change": change, "form": form,
            "question": change.question % {"number": len(keys)},
        }  # fmt: skip
        return TemplateResponse(request, "admin/accounts/apikey/change_keys.html", context)

    def _do(self, request: HttpRequest, keys: list[ApiKey], change: Change, form: Any) -> None:
        page: Any = self
        with transaction.atomic():
            # By the ids that are logged below, not by the query set, which may find others by now.
            chosen = ApiKey.objects.filter(pk__in=[key.pk for key in keys], revoked_at=None)
            change.apply(chosen, form)
            for key in keys:
                page.log_change(request, key, change.logged)
        names = ", ".join(map(str, keys[:SHOWN])) + (" …" if len(keys) > SHOWN else "")
        messages.success(request, change.done % {"keys": names})


def _senseless(user: Any, key: ApiKey) -> Iterator[str]:
    """The ends of names of buttons that would do nothing to this key, or nothing but refuse."""
    if key.paused_at is not None:
        yield "_pause_one"
    if key.paused_at is None and key.quarantined_at is None:
        yield "_resume_one"
    if key.quarantined_at is not None:
        yield "_quarantine_one"
    if not leads.is_operator(user):
        yield "_quarantine_one"
        if key.quarantined_at is not None:
            yield "_resume_one"


def _none_to_rotate(request: HttpRequest) -> HttpResponse:
    messages.info(request, gettext("There is no such key to rotate."))
    return _to_list()


def _to_list() -> HttpResponse:
    return HttpResponseRedirect(reverse("admin:accounts_apikey_changelist"))


def _to_page(object_id: int) -> HttpResponse:
    return HttpResponseRedirect(reverse("admin:accounts_apikey_change", args=[object_id]))
