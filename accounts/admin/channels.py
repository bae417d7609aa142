"""Where alerts are told, in the console: receivers, their last results, and a test of each."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, ClassVar

from django import forms
from django.conf import settings
from django.contrib import admin, messages
from django.core.exceptions import ValidationError
from django.http import HttpRequest, HttpResponse, HttpResponseRedirect
from django.template.response import TemplateResponse
from django.urls import reverse
from django.utils import timezone
from django.utils.translation import gettext
from django.utils.translation import gettext_lazy as _
from unfold.admin import ModelAdmin
from unfold.decorators import action, display
from unfold.widgets import UnfoldAdminCheckboxSelectMultipleWidget, UnfoldAdminPasswordWidget

from accounts.alerts import receivers
from accounts.alerts.notices import notice_options, send_test
from accounts.alerts.words import clock, kind_names
from accounts.audit.history import AuditHistory
from accounts.models import AlertChannel
from gateway_project.lib.pages.lookups import ClosedLookups
from gateway_project.lib.visible import visible

UNCHANGED = _("Left empty, it stays as it is. It is encrypted and never shown.")


class ChannelForm(forms.ModelForm):
    new_address = forms.CharField(
        label=_("Address"), required=False, max_length=2000, widget=UnfoldAdminPasswordWidget(),
        help_text=_("The URL of the webhook or of the robot; addresses for e-mail, with commas between them."),
    )  # fmt: skip
    new_secret = forms.CharField(
        label=_("Secret"), required=False, max_length=500, widget=UnfoldAdminPasswordWidget(),
        help_text=_("Signs what is sent: that of a robot's safety settings, or of your own choice for a webhook."),
    )  # fmt: skip
    alert_kinds = forms.MultipleChoiceField(
        label=_("Alerts"), required=False, widget=UnfoldAdminCheckboxSelectMultipleWidget(),
        help_text=_("None chosen: all of them."),
    )  # fmt: skip

    class Meta:
        model = AlertChannel
        fields = ("name", "kind", "least", "language", "enabled", "alert_kinds")

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self.fields["alert_kinds"].choices = kind_names()  # type: ignore[attr-defined]  # the field is the one above
        if self.instance.pk:
            for name in ("new_address", "new_secret"):
                self.fields[name].help_text = f"{self.fields[name].help_text} {UNCHANGED}"

    def clean(self) -> dict[str, Any]:
        cleaned = super().clean() or {}
        address, kind = cleaned.get("new_address", ""), cleaned.get("kind")
        if address:
            self._check("new_address", receivers.check_address, kind, address)
        elif not self.instance.pk or kind != self.initial.get("kind"):
            self.add_error("new_address", gettext("An address is needed."))
        self._check("kind", receivers.check_kind, kind, settings.ALERT_OPTIONS["mail_from"])
        return cleaned

    def _check(self, field: str, check: Callable[..., None], *values: Any) -> None:
        try:
            check(*values)
        except ValidationError as exc:
            self.add_error(field, exc)

    def save(self, commit: bool = True) -> AlertChannel:
        given = self.cleaned_data
        # An empty field leaves the secret: browsers show no password that is stored, so every form comes without it.
        receivers.renew(self.instance, given.get("new_address", ""), given.get("new_secret") or None)
        saved: AlertChannel = super().save(commit)
        return saved


@admin.register(AlertChannel)
class AlertChannelAdmin(AuditHistory, ClosedLookups, ModelAdmin):
    form = ChannelForm
    list_display = ("name", "kind", "least", "language", "enabled", "last")
    list_per_page = 50
    fieldsets: ClassVar = [
        (None, {"fields": [("name", "enabled"), ("kind", "language"), "new_address", "new_secret"]}),
        (_("Alerts"), {"fields": ["least", "alert_kinds"]}),
    ]
    actions_detail: ClassVar = ["send_test"]
    empty_icon = "campaign"
    empty_title = _("No alert channels yet")
    empty_hint = _("Alerts are in this console. A channel tells them elsewhere too, and when they are over.")

    @action(description=_("Send a test"), url_path="test", permissions=["send"])
    def send_test(self, request: HttpRequest, object_id: str) -> HttpResponse:
        channel = self.get_object(request, object_id)
        if channel is None:
            return HttpResponseRedirect(reverse("admin:accounts_alertchannel_changelist"))
        if request.method != "POST":  # a GET changes nothing, and sends nothing
            context = self.admin_site.each_context(request)
            context |= {"title": gettext("Send a test"), "opts": self.opts, "channel": channel}
            return TemplateResponse(request, "admin/accounts/alertchannel/test.html", context)
        found = send_test(channel, notice_options(settings.ALERT_OPTIONS), timezone.now())
        if found:
            messages.error(request, gettext("The test did not arrive: %(why)s") % {"why": visible(found)})
        else:
            messages.success(request, gettext("The test was taken by the receiver."))
        return HttpResponseRedirect(reverse("admin:accounts_alertchannel_change", args=[channel.pk]))

    def has_send_permission(self, request: HttpRequest, object_id: Any = None) -> bool:
        return bool(self.has_change_permission(request))

    @display(description=_("Last result"))
    def last(self, obj: AlertChannel) -> str:
        if obj.last_tried_at is None:
            return "–"
        words = gettext("%(result)s, %(time)s") % {
            "result": visible(obj.last_result) or gettext("taken"), "time": clock(obj.last_tried_at),
        }  # fmt: skip
        if obj.retry_at is None:
            return words
        return gettext("%(result)s; again at %(time)s") % {"result": words, "time": clock(obj.retry_at)}
