"""Versions of Lingma in the admin console: which instances run which, and moves from one to another."""

from __future__ import annotations

from typing import Any, ClassVar

import redis
from django import forms
from django.conf import settings
from django.contrib import admin, messages
from django.core.exceptions import PermissionDenied
from django.db.models import QuerySet
from django.http import HttpRequest, HttpResponse, HttpResponseRedirect, JsonResponse
from django.template.response import TemplateResponse
from django.urls import path, reverse
from django.utils.html import format_html
from django.utils.translation import gettext
from django.utils.translation import gettext_lazy as _
from unfold.admin import ModelAdmin
from unfold.decorators import action, display
from unfold.widgets import UnfoldAdminFileFieldWidget, UnfoldAdminTextInputWidget, UnfoldBooleanSwitchWidget

from accounts.audit.history import AuditHistory
from bridge.fleet import mirror, orders, versions
from bridge.fleet.orders import ALL, UnknownInstance
from bridge.fleet.versions import NotInstalled, UnknownVersion, VersionInUse
from bridge.models import Instance, InstanceOrder, Version
from bridge.status.states import InstanceState
from gateway_project.lib.pages.cells import ago
from gateway_project.lib.pages.lookups import ClosedLookups
from gateway_project.lib.pages.uploads import NotUploaded, is_asked, upload_of, was_tried
from gateway_project.lib.translated import translated


def instances_there() -> list[Instance]:
    """Those that are started here, as they are now."""
    try:
        rows = mirror.current(settings.REDIS_URL)
    except redis.RedisError:
        rows = list(Instance.objects.all())
    there = [each for each in rows if each.state != InstanceState.GONE and each.upstream != "attached"]
    return sorted(there, key=lambda each: each.name)


class UploadForm(forms.Form):
    """As the page shows it. The file comes last: whatever decides about it has come by then."""

    sha256 = forms.CharField(
        label=_("SHA-256 of the file"), required=False, widget=UnfoldAdminTextInputWidget({"autocomplete": "off"}),
        help_text=_("That the file must have, if you know it."),
    )  # fmt: skip
    default = forms.BooleanField(
        label=_("Make it the default"), required=False, widget=UnfoldBooleanSwitchWidget,
        help_text=_("Instances run it unless they are ordered to run another one."),
    )  # fmt: skip
    file = forms.FileField(label=_("VSIX file"), widget=UnfoldAdminFileFieldWidget({"accept": ".vsix,.gz,.zip"}))


@admin.register(Version)
class VersionAdmin(AuditHistory, ClosedLookups, ModelAdmin):
    """They are installed by superusers, on each machine; here they are chosen."""

    list_display = ("header", "run_by", "ordered_for", "installed")
    fields = ("version", "is_default", "run_by", "ordered_for", "digest", "installed_at")
    readonly_fields = fields
    actions_detail: ClassVar = ["move"]
    actions_list: ClassVar = ["to_upload", "unmove"]
    empty_icon = "deployed_code"
    empty_title = _("No version is installed")
    empty_hint = _(
        "Instances run what the settings say. Upload a VSIX, or install a version with manage.py lingma_install, with "
        "the path or the address of one; then move an instance to it here."
    )

    def get_queryset(self, request: HttpRequest) -> QuerySet[Version]:
        found: QuerySet[Version] = super().get_queryset(request).prefetch_related("orders")
        return found

    def has_add_permission(self, request: HttpRequest) -> bool:
        """By `upload`, which is no form of a row."""
        return False

    def has_delete_permission(self, request: HttpRequest, obj: Version | None = None) -> bool:
        """For superusers, and of one that nobody needs; one by one."""
        if obj is None or obj.is_default or obj.orders.exists():
            return False
        return bool(request.user.is_superuser)

    def delete_view(self, request: HttpRequest, object_id: str, extra_context: Any = None) -> HttpResponse:
        """Its files may be such as the gateway cannot delete, or somebody has just ordered it; then it stays."""
        try:
            page: HttpResponse = super().delete_view(request, object_id, extra_context)
        except VersionInUse as exc:
            messages.error(request, str(exc))
            return HttpResponseRedirect(reverse("admin:bridge_version_change", args=[object_id]))
        return page

    def delete_model(self, request: HttpRequest, obj: Version) -> None:
        versions.delete(obj, settings.DATA_DIR)

    def has_upload_permission(self, request: HttpRequest) -> bool:
        """What is started comes from superusers alone."""
        return bool(request.user.is_superuser)

    def get_urls(self) -> list[Any]:
        """Also the page of an upload, whose path `gateway_project.asgi` knows."""
        view = self.admin_site.admin_view(self.upload_view)
        return [path("upload/", view, name="bridge_version_upload"), *super().get_urls()]

    @action(description=_("Upload a VSIX"), permissions=["upload"], url_path="to-upload", icon="upload")
    def to_upload(self, request: HttpRequest) -> HttpResponse:
        """Leads there."""
        return HttpResponseRedirect(reverse("admin:bridge_version_upload"))

    def upload_view(self, request: HttpRequest) -> HttpResponse:
        """The form; and what to do with the file that the server has written to the disk."""
        if not self.has_upload_permission(request):
            raise PermissionDenied
        if is_asked(request):
            return HttpResponse(status=204)
        error, status = "", 200
        if request.method == "POST" or was_tried(request):
            try:
                return self._installed(request)
            except (NotUploaded, NotInstalled) as exc:
                error, status = translated(exc.text), exc.status
        if _is_script(request):
            return JsonResponse({"error": error}, status=status)
        context = self.admin_site.each_context(request) | {
            "title": gettext("Upload a VSIX"), "opts": self.opts, "form": UploadForm(), "error": error,
            "mib": settings.ENV.lingma_upload_max_bytes >> 20,
        }  # fmt: skip
        return TemplateResponse(request, "admin/bridge/version/upload.html", context, status=status)

    def _installed(self, request: HttpRequest) -> HttpResponse:
        """Raise NotUploaded or NotInstalled."""
        given = request.POST
        row = versions.install_upload(
            upload_of(request), settings.DATA_DIR, given.get("sha256", ""), default=bool(given.get("default"))
        )
        messages.success(request, gettext("%(version)s is installed on this machine.") % {"version": row})
        done = reverse("admin:bridge_version_changelist")
        return JsonResponse({"next": done}) if _is_script(request) else HttpResponseRedirect(done)

    @action(description=_("Move back"), permissions=["change"], url_path="back", icon="settings_backup_restore")
    def unmove(self, request: HttpRequest) -> HttpResponse:
        """Asks first; a GET changes nothing."""
        back = HttpResponseRedirect(reverse("admin:bridge_version_changelist"))
        if request.method == "POST":
            self._move(request, None)
            return back
        ordered = set(InstanceOrder.objects.exclude(version=None).values_list("name", flat=True))
        context = self.admin_site.each_context(request) | {
            "title": gettext("Move instances back"), "opts": self.opts, "all": ALL,
            "instances": [each for each in instances_there() if each.name in ordered],
            "default": Version.objects.filter(is_default=True).first(),
        }  # fmt: skip
        return TemplateResponse(request, "admin/bridge/version/back.html", context)

    def _move(self, request: HttpRequest, version: Version | None) -> None:
        try:
            names = orders.move(request.POST.get("name", "")[:100], version, settings.REDIS_URL)
        except (UnknownInstance, UnknownVersion) as exc:
            messages.error(request, str(exc))
        else:
            done = gettext("%(version)s: %(names)s. It begins within two seconds.")
            what = version or gettext("moved back")
            messages.success(request, done % {"version": what, "names": ", ".join(names)})

    @action(description=_("Move instances"), permissions=["change"], url_path="move", icon="move_up")
    def move(self, request: HttpRequest, object_id: str) -> HttpResponse:
        """Asks first; a GET changes nothing."""
        version: Version | None = self.get_object(request, object_id)
        back = HttpResponseRedirect(reverse("admin:bridge_version_changelist"))
        if version is None:
            return back
        if request.method == "POST":
            self._move(request, version)
            return back
        context = self.admin_site.each_context(request) | {
            "title": gettext("Move instances to %(version)s") % {"version": version}, "opts": self.opts,
            "instances": instances_there(), "all": ALL,
        }  # fmt: skip
        return TemplateResponse(request, "admin/bridge/version/move.html", context)

    @display(description=_("Version"), header=True, ordering="position")
    def header(self, obj: Version) -> tuple[str, str]:
        return obj.version, gettext("default") if obj.is_default else ""

    @display(description=_("SHA-256 of the archive"))
    def digest(self, obj: Version) -> str:
        """It breaks where a narrow screen ends."""
        return format_html('<span class="break-all">{}</span>', obj.archive_sha256)

    @display(description=_("Run by"))
    def run_by(self, obj: Version) -> str | None:
        return ", ".join(each.name for each in instances_there() if each.installed == obj.version) or None

    @display(description=_("Ordered for"))
    def ordered_for(self, obj: Version) -> str | None:
        return ", ".join(sorted(order.name for order in obj.orders.all())) or None

    @display(description=_("Installed"), ordering="installed_at")
    def installed(self, obj: Version) -> str:
        return ago(obj.installed_at)


def _is_script(request: HttpRequest) -> bool:
    """It shows progress, and wants to know what came of it in few words."""
    return request.headers.get("X-Requested-With") == "fetch"
