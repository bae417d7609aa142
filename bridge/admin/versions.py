"""Versions of Lingma in the admin console: which instances run which, and moves from one to another."""

from __future__ import annotations

from typing import ClassVar

import redis
from django.conf import settings
from django.contrib import admin, messages
from django.db.models import QuerySet
from django.http import HttpRequest, HttpResponse, HttpResponseRedirect
from django.template.response import TemplateResponse
from django.urls import reverse
from django.utils.html import format_html
from django.utils.translation import gettext
from django.utils.translation import gettext_lazy as _
from unfold.admin import ModelAdmin
from unfold.decorators import action, display

from accounts.audit.history import AuditHistory
from bridge.fleet import mirror, orders, versions
from bridge.fleet.orders import ALL, UnknownInstance
from bridge.models import Instance, Version
from bridge.status.states import InstanceState
from gateway_project.lib.cells import ago
from gateway_project.lib.lookups import ClosedLookups


def instances_there() -> list[Instance]:
    """Those that are started here, as they are now."""
    try:
        rows = mirror.current(settings.REDIS_URL)
    except redis.RedisError:
        rows = list(Instance.objects.all())
    there = [each for each in rows if each.state != InstanceState.GONE and each.upstream != "attached"]
    return sorted(there, key=lambda each: each.name)


@admin.register(Version)
class VersionAdmin(AuditHistory, ClosedLookups, ModelAdmin):
    """They are installed by command, on each machine; here they are chosen."""

    list_display = ("header", "run_by", "ordered_for", "installed")
    fields = ("version", "is_default", "run_by", "ordered_for", "digest", "installed_at")
    readonly_fields = fields
    actions_detail: ClassVar = ["move"]
    empty_icon = "deployed_code"
    empty_title = _("No version is installed")
    empty_hint = _(
        "Instances run what the settings say. Install a version with manage.py lingma_install, with the path or the "
        "address of a VSIX; then move an instance to it here."
    )

    def get_queryset(self, request: HttpRequest) -> QuerySet[Version]:
        found: QuerySet[Version] = super().get_queryset(request).prefetch_related("orders")
        return found

    def has_add_permission(self, request: HttpRequest) -> bool:
        """What is started comes from the machine itself."""
        return False

    def has_delete_permission(self, request: HttpRequest, obj: Version | None = None) -> bool:
        """For superusers, and of one that nobody needs; one by one."""
        if obj is None or obj.is_default or obj.orders.exists():
            return False
        return bool(request.user.is_superuser)

    def delete_model(self, request: HttpRequest, obj: Version) -> None:
        versions.delete(obj, settings.DATA_DIR)

    @action(description=_("Move instances"), permissions=["change"], url_path="move", icon="move_up")
    def move(self, request: HttpRequest, object_id: str) -> HttpResponse:
        """Asks first; a GET changes nothing."""
        version = self.get_queryset(request).filter(pk=object_id).first()
        back = HttpResponseRedirect(reverse("admin:bridge_version_changelist"))
        if version is None:
            return back
        if request.method == "POST":
            try:
                names = orders.move(request.POST.get("name", "")[:100], version, settings.REDIS_URL)
            except UnknownInstance as exc:
                messages.error(request, str(exc))
            else:
                done = gettext("%(version)s: %(names)s. It begins within two seconds.")
                messages.success(request, done % {"version": version, "names": ", ".join(names)})
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
