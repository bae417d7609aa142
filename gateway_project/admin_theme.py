"""The design of the admin console: its name, its colours, what stands in its sidebar."""

from collections.abc import Callable
from typing import Any

from django.conf import settings
from django.http import HttpRequest
from django.templatetags.static import static
from django.utils.functional import Promise
from django.utils.translation import gettext_lazy as _
from django.utils.translation import gettext_noop

from gateway_project.lib.pages.paths import path_lazy
from gateway_project.lib.upstream import shown


def item(title: Promise, icon: str, model: str) -> dict[str, Any]:
    """A line of the sidebar, shown to those who may see the model (`app.model`)."""
    app, name = model.split(".")
    return {
        "title": title,
        "icon": icon,
        "link": path_lazy(f"admin:{app}_{name}_changelist"),
        # unfold calls it for each page: rights may have changed since the last one.
        "permission": lambda request: request.user.has_perm(f"{app}.view_{name}"),
    }


def environment(request: HttpRequest) -> list[Any]:
    """What answers the chats, as the label that every page bears."""
    label, colour = UPSTREAMS[shown(settings.ENV.upstream)]
    return [label, colour]


UPSTREAMS = {
    "simulator": (_("Simulator"), "warning"),
    "attached": (_("Lingma, attached"), "info"),
    "lingma": ("Lingma", ""),
}


gettext_noop("Welcome")  # unfold has it in an f-string, where xgettext finds nothing


def asset(path: str) -> Callable[[HttpRequest], str]:
    """A static file's address, looked up when a page is made."""
    # Not at import: the manifest of hashed names is made after the settings are read.
    return lambda request: static(path)


INDIGO = {
    "50": "oklch(96.2% .018 272.314)",
    "100": "oklch(93% .034 272.788)",
    "200": "oklch(87% .065 274.039)",
    "300": "oklch(78.5% .115 274.713)",
    "400": "oklch(67.3% .182 276.935)",
    "500": "oklch(58.5% .233 277.117)",
    "600": "oklch(51.1% .262 276.966)",
    "700": "oklch(45.7% .24 277.023)",
    "800": "oklch(39.8% .195 277.366)",
    "900": "oklch(35.9% .144 278.697)",
    "950": "oklch(25.7% .09 281.288)",
}

UNFOLD: dict[str, Any] = {
    "SITE_TITLE": "Lingma Gateway",
    "SITE_HEADER": "Lingma Gateway",
    "SITE_SYMBOL": "hub",
    "ACCOUNT": {"navigation": [{"title": _("Password and second factors"), "link": path_lazy("mfa_index")}]},
    "SITE_URL": None,
    "SHOW_LANGUAGES": True,
    "SHOW_VIEW_ON_SITE": False,
    "SITE_FAVICONS": [{"rel": "icon", "type": "image/svg+xml", "href": asset("accounts/favicon.svg")}],
    "STYLES": [asset("accounts/console.css")],
    "SCRIPTS": [asset("accounts/console.js")],
    "COLORS": {"primary": INDIGO},
    "ENVIRONMENT": "gateway_project.admin_theme.environment",
    "SIDEBAR": {
        "show_search": False,
        "show_all_applications": False,
        "navigation": [
            {
                "items": [
                    {"title": _("Overview"), "icon": "monitoring", "link": path_lazy("admin:index")},
                    {
                        "title": _("Usage pages"),
                        "icon": "bar_chart",
                        "link": path_lazy("usage"),
                        "active": lambda request: False,  # no page of the console, though its path ends like one
                    },
                    {
                        "title": _("Playground"),
                        "icon": "terminal",
                        "link": path_lazy("playground"),
                        "permission": lambda request: request.user.has_perm("accounts.use_playground"),
                    },
                ],
            },
            {
                "title": _("Access"),
                "items": [
                    item(_("Keys"), "key", "accounts.apikey"),
                    item(_("Teams"), "groups", "accounts.team"),
                    item(_("Usage"), "receipt_long", "accounts.usage"),
                    item(_("Alerts"), "notifications", "accounts.alert")
                    | {"permission": lambda request: request.user.has_perm("accounts.view_apikey")},
                ],
            },
            {
                "title": _("Service"),
                "items": [
                    item(_("Instances"), "dns", "bridge.instance"),
                    {
                        "title": _("Live"),
                        "icon": "cardiology",
                        "link": path_lazy("admin:live"),
                        "permission": lambda request: request.user.has_perm("bridge.view_instance"),
                    },
                    {
                        "title": _("Doctor"),
                        "icon": "stethoscope",
                        "link": path_lazy("admin:doctor"),
                        "permission": lambda request: request.user.has_perm("bridge.view_instance"),
                    },
                    item(_("Maintenance"), "event_busy", "bridge.maintenancewindow"),
                    item(_("Logins"), "badge", "bridge.login"),
                    item(_("Login page"), "web", "bridge.signinpage"),
                    item(_("Versions"), "deployed_code", "bridge.version"),
                    item(_("Sessions"), "forum", "sessions_store.entry"),
                    item(_("Aliases"), "alt_route", "bridge.modelalias"),
                    item(_("Prompts"), "edit_note", "bridge.prompttemplate"),
                    item(_("Schedules"), "schedule", "django_celery_beat.periodictask"),
                ],
            },
            {
                "title": _("Console"),
                "items": [
                    item(_("Users"), "person", "auth.user"),
                    item(_("Groups"), "shield_person", "auth.group"),
                    item(_("Audit log"), "history", "accounts.auditentry"),
                    item(_("API tokens"), "key_vertical", "accounts.apitoken"),
                    item(_("Alert channels"), "campaign", "accounts.alertchannel"),
                ],
            },
        ],
    },
}
