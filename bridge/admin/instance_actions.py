"""What is done to instances from their list and their pages: each asks first, and says afterwards what it ordered."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, ClassVar, Final

from django.conf import settings
from django.contrib import messages
from django.contrib.admin.helpers import ACTION_CHECKBOX_NAME
from django.contrib.admin.utils import unquote
from django.db.models import QuerySet
from django.http import HttpRequest, HttpResponse, HttpResponseRedirect
from django.template.response import TemplateResponse
from django.urls import reverse
from django.utils.translation import gettext
from django.utils.translation import gettext_lazy as _
from unfold.decorators import action

from bridge.fleet import orders, sizes
from bridge.fleet.orders import Action, NoLogin
from bridge.fleet.sizes import BadSize
from bridge.models import Instance
from bridge.models.pool_size import EVERY_PROCESS

BUTTONS: Final = [each for each in Action if each not in (Action.MOVE, Action.SIZE)]
"""Versions, and the number of instances, have pages of their own."""
WORDS: Final[Mapping[Action, tuple[Any, Any]]] = {
    Action.DRAIN: (_("Drain"), _("They finish the turns they have and take no others until they are started again.")),
    Action.RESTART: (
        _("Restart"),
        _("A successor starts beside each and takes its place when it works. Turns that run are finished."),
    ),
    Action.STOP: (_("Stop"), _("They finish the turns they have, for a while, and end until they are started again.")),
    Action.START: (_("Start"), _("They take turns again.")),
    Action.COOL: (_("Cool down for 5 minutes"), _("They finish the turns they have and take no others for 5 minutes.")),
    Action.CLEAR: (_("Clear pauses"), _("Pauses end, and what failed is tried again at once.")),
    Action.SMOKE: (
        _("Ask a short question"),
        _("Each is asked one short question. Its page says how that went. It costs some tokens."),
    ),
    Action.RELOGIN: (
        _("Log in again"),
        _("Their logins are made again beside them. Turns go on; the page of a login says whether somebody is needed."),
    ),
}
"""What it is called, and what it does."""


class InstanceActions:
    """A mixin for the page of instances: one action for each line of the list's menu and each button."""

    actions: ClassVar = [f"{each}_selected" for each in BUTTONS]
    actions_detail: ClassVar = [f"{each}_one" for each in BUTTONS]
    actions_list: ClassVar = ["pause", "resume", "size"]

    def has_operate_permission(self, request: HttpRequest, object_id: Any = None) -> bool:
        """Facts cannot be edited, so the right to change an instance is the right to order it about."""
        return request.user.has_perm("bridge.change_instance")

    @action(description=_("Pause the pool"), permissions=["operate"], url_path="pause", icon="pause")
    def pause(self, request: HttpRequest) -> HttpResponse:
        effect = gettext(
            "All instances finish the turns they have and take no others, nor do those that are added later, until the "
            "pool is started again. Requests are refused meanwhile and told why."
        )
        return self._ask_for_all(request, Action.DRAIN, gettext("Pause the pool"), effect)

    @action(description=_("Start the pool"), permissions=["operate"], url_path="resume", icon="play_arrow")
    def resume(self, request: HttpRequest) -> HttpResponse:
        effect = gettext("All instances take turns again, those too that were drained, stopped or cooled down alone.")
        return self._ask_for_all(request, Action.START, gettext("Start the pool"), effect)

    def _ask_for_all(self, request: HttpRequest, what: Action, title: str, effect: str) -> HttpResponse:
        """A GET changes nothing."""
        page: Any = self
        if request.method == "POST":
            orders.order(what, orders.ALL, settings.REDIS_URL)
            messages.success(request, gettext("Ordered. It begins within two seconds."))
            return HttpResponseRedirect(reverse("admin:bridge_instance_changelist"))
        context = page.admin_site.each_context(request) | {"title": title, "effect": effect, "opts": page.opts}
        return TemplateResponse(request, "admin/bridge/instance/ask.html", context)

    @action(description=_("Number of instances"), permissions=["operate"], url_path="size", icon="tune")
    def size(self, request: HttpRequest) -> HttpResponse:
        """A GET changes nothing."""
        page: Any = self
        env = settings.ENV
        if request.method == "POST":
            try:
                size, process = (int(request.POST.get(each, "")[:5]) for each in ("size", "process"))
                sizes.order(size, process, env)
            except ValueError:
                messages.error(request, gettext("This is no number."))
            except BadSize as exc:
                messages.error(request, str(exc))
            else:
                messages.success(request, gettext("Ordered. It begins within two seconds."))
            return HttpResponseRedirect(reverse("admin:bridge_instance_size"))
        ordered = sizes.read_sizes()
        numbers = range(1, env.web_processes + 1)
        context = page.admin_site.each_context(request) | {
            "title": gettext("Number of instances"), "opts": page.opts, "most": env.most_instances,
            "attached": bool(env.lingma_attach_urls), "every": EVERY_PROCESS,
            "processes": [(number, f"web-{number}", sizes.size_of(number, ordered, env)) for number in numbers],
        }  # fmt: skip
        return TemplateResponse(request, "admin/bridge/instance/size.html", context)

    def _ask(
        self, request: HttpRequest, instances: QuerySet[Instance], what: Action, action_name: str = ""
    ) -> HttpResponse | None:
        """The first step only asks; a GET changes nothing. None when it is done."""
        page: Any = self
        names = sorted(instances.values_list("name", flat=True))
        title, effect = WORDS[what]
        if not names:
            messages.error(request, gettext("There is no such instance."))
            return None
        if request.method == "POST" and request.POST.get("confirmed"):
            try:
                orders.give(what, names)
            except NoLogin as exc:
                return _said(request, messages.ERROR, str(exc))
            done = gettext("%(action)s: %(names)s. It begins within two seconds.")
            return _said(request, messages.SUCCESS, done % {"action": title, "names": ", ".join(names)})
        context = page.admin_site.each_context(request) | {
            "title": title, "effect": effect, "opts": page.opts, "names": names, "action_name": action_name,
        }  # fmt: skip
        return TemplateResponse(request, "admin/bridge/instance/ask.html", context)


def _said(request: HttpRequest, level: int, text: str) -> HttpResponse | None:
    """To a script at once; else on the page that follows."""
    if request.headers.get("X-Requested-With") == "fetch":
        return HttpResponse(text, content_type="text/plain", status=200 if level < messages.ERROR else 409)
    messages.add_message(request, level, text)
    return None


def _of_list(what: Action) -> Any:
    @action(description=WORDS[what][0], permissions=["operate"])
    def ask(self: Any, request: HttpRequest, queryset: QuerySet[Instance]) -> HttpResponse | None:
        if request.POST.get("confirmed"):
            # Those that the question has named: a filter of the list may find others by now.
            queryset = self.get_queryset(request).filter(pk__in=request.POST.getlist(ACTION_CHECKBOX_NAME))
        page: HttpResponse | None = self._ask(request, queryset, what, f"{what}_selected")
        return page

    return ask


def _of_page(what: Action) -> Any:
    @action(description=WORDS[what][0], permissions=["operate"], url_path=str(what))
    def ask(self: Any, request: HttpRequest, object_id: str) -> HttpResponse:
        page = self._ask(request, self.get_queryset(request).filter(pk=unquote(object_id)), what)
        return page or HttpResponseRedirect(reverse("admin:bridge_instance_changelist"))

    return ask


for each in BUTTONS:
    setattr(InstanceActions, f"{each}_selected", _of_list(each))
    setattr(InstanceActions, f"{each}_one", _of_page(each))
