"""Teams in the admin console: who belongs to them, their keys, and what those may do."""

from __future__ import annotations

from typing import Any, ClassVar

from django.conf import settings
from django.contrib import admin
from django.db.models import Count, F, QuerySet
from django.http import HttpRequest, HttpResponse
from django.urls import reverse
from django.utils import timezone
from django.utils.html import format_html
from django.utils.http import urlencode
from django.utils.translation import gettext, ngettext
from django.utils.translation import gettext_lazy as _
from unfold.admin import ModelAdmin
from unfold.decorators import display

from accounts.admin.key_figures import LINK, FigureById, TeamFigures, sums_of_month
from accounts.admin.key_form import POLICY_SETS, PolicyForm, PolicyPage
from accounts.admin.keys import limits_of, usage_of
from accounts.admin.leads import OwnTeams
from accounts.admin.limits import LimitsNow
from accounts.audit.history import AuditHistory
from accounts.models import ApiKey, Team, Usage
from accounts.reports.visibility import visible_to
from accounts.roles.reach import keys_of
from gateway_project.lib.pages.cells import ago, cut
from gateway_project.lib.pages.lookups import ClosedLookups

MOST_KEYS = 50


@admin.register(Team)
class TeamAdmin(TeamFigures, PolicyPage, LimitsNow, OwnTeams, AuditHistory, ClosedLookups, ModelAdmin):
    form = PolicyForm
    list_display = ("short", "live_keys", "members_count", "turns", "pool_share", "limits", "created_at")
    search_fields = ("name",)
    list_per_page = 50
    fieldsets: ClassVar = [(None, {"fields": ["name", "members", "time_zone"]}), *POLICY_SETS]
    change_form_outer_before_template = "admin/accounts/standing.html"
    change_form_outer_after_template = "admin/accounts/team/keys.html"
    empty_icon = "groups"
    empty_title = _("No teams yet")
    empty_hint = _("A team groups keys, so that their usage can be seen together.")

    def get_queryset(self, request: HttpRequest) -> QuerySet[Team]:
        teams: QuerySet[Team] = super().get_queryset(request).order_by("name")
        if not request.GET.get("o"):
            return teams
        # No joins: in a query with groups the figures, of whatever kind, would be looked up without an index.
        return teams.annotate(live_count=FigureById(_live_keys()), member_count=FigureById(_members()))

    def get_changelist_instance(self, request: HttpRequest) -> Any:
        page: Any = super().get_changelist_instance(request)
        # Of all teams in two queries: one for each row of the page would be a hundred.
        live, members = _live_keys(), _members()
        for team in page.result_list:
            team.live_count, team.member_count = live.get(team.pk, 0), members.get(team.pk, 0)
        return page

    def change_view(
        self, request: HttpRequest, object_id: str, form_url: str = "", extra_context: Any = None
    ) -> HttpResponse:
        """With the team's keys and their usage, as far as the reader may see them."""
        team = self.get_object(request, object_id)
        shown = self._keys(request, team) if team is not None else {}
        page: HttpResponse = super().change_view(request, object_id, form_url, (extra_context or {}) | shown)
        return page

    def _keys(self, request: HttpRequest, team: Team) -> dict[str, Any]:
        links = [
            (gettext("Usage of the last 30 days"), usage_of("team", team.pk)),
            (gettext("What it was refused"), usage_of("team", team.pk, status="refused")),
            (gettext("Share of the pool, this month"), f"{reverse('showback')}?{urlencode({'team': team.pk})}"),
        ]
        sums = sums_of_month(request.user, team)
        # Who may not see these sees none of its usage.
        shown = {"usage_links": [] if sums is None else links, "month_sums": sums}
        if not request.user.has_perm("accounts.view_apikey"):
            return shown
        keys = keys_of(request.user).filter(team=team).order_by(F("revoked_at").asc(nulls_first=True), "name")
        headers = [gettext("Key"), gettext("State"), gettext("Last used"), gettext("Usage")]
        columns = len(headers) - visible_to(request.user).nothing
        return shown | {
            "team_keys": {
                "headers": headers[:columns],
                "rows": [_row(key)[:columns] for key in keys[:MOST_KEYS]],
            },
            "all_keys": _keys_of(team),
        }

    def save_model(self, request: HttpRequest, obj: Any, form: Any, change: bool) -> None:
        super().save_model(request, obj, form, change)
        self.warn_of_unknown_models(request, obj, form)

    def get_autocomplete_fields(self, request: HttpRequest) -> tuple[str, ...]:
        """Suggestions are the page of users' to make, which operators may not see; they have a list."""
        return ("members",) if request.user.has_perm("auth.view_user") else ()

    def get_deleted_objects(self, objs: Any, request: HttpRequest) -> tuple[Any, Any, set[str], list[Any]]:
        """A team with keys or usage is kept, with a reason a team. Django would read and list all that holds it."""
        teams = list(objs)
        if reasons := [reason for team in teams if (reason := reason_to_keep(team))]:
            return [], {}, set(), reasons
        found: tuple[Any, Any, set[str], list[Any]] = super().get_deleted_objects(teams, request)
        return found

    @display(description=_("name"), ordering="name")
    def short(self, obj: Team) -> str:
        return cut(obj.name)

    @display(description=_("Live keys"), ordering="live_count")
    def live_keys(self, obj: Any) -> str:
        count = f"{obj.live_count:,}"
        return format_html(LINK, f"{_keys_of(obj)}&state=live", count) if obj.live_count else count

    @display(description=_("Members"), ordering="member_count")
    def members_count(self, obj: Any) -> int:
        count: int = obj.member_count
        return count

    @display(description=_("Limits"))
    def limits(self, obj: Team) -> str | None:
        return limits_of(obj)


def _live_keys() -> dict[int, int]:
    return _by_team(ApiKey.objects.live(timezone.now()).exclude(team=None))


def _members() -> dict[int, int]:
    return _by_team(Team.members.through.objects.all())


def _by_team(rows: QuerySet[Any]) -> dict[int, int]:
    """How many there are of each team."""
    return dict(rows.order_by().values_list("team").annotate(count=Count("pk")))


def reason_to_keep(team: Team) -> str:
    """Why it cannot be deleted, and what would help; "" when it can be."""
    if count := team.keys.count():
        text = ngettext(
            "%(team)s has %(count)d key. Move it to another team first.",
            "%(team)s has %(count)d keys. Move them to another team first.",
            count,
        ) % {"team": team, "count": count}
        link = '{} <a class="gw-link text-primary-600 dark:text-primary-500" href="{}">{}</a>'
        return format_html(link, text, _keys_of(team), gettext("Show its keys"))
    if Usage.objects.filter(team=team).exists():
        days = settings.USAGE_RETENTION_DAYS
        text = ngettext(
            "%(team)s has usage, which stays for %(days)d day. It can be deleted when that has left.",
            "%(team)s has usage, which stays for %(days)d days. It can be deleted when that has left.",
            days,
        )
        return text % {"team": team, "days": days}
    return ""


def _keys_of(team: Team) -> str:
    return f"{reverse('admin:accounts_apikey_changelist')}?{urlencode({'team__id__exact': team.pk})}"


def _row(key: ApiKey) -> list[Any]:
    link = '<a class="font-medium gw-link text-primary-600 dark:text-primary-500" href="{}">{}</a>'
    page = reverse("admin:accounts_apikey_change", args=[key.pk])
    return [
        format_html(link, page, cut(key.name)),
        str(key.state(timezone.now()).label),
        ago(key.last_used_at) if key.last_used_at else "–",
        format_html(link, usage_of("key", key.pk), gettext("30 days")),
    ]
