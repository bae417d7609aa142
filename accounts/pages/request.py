"""`/usage/r/<id>`: what became of one request, and why."""

from __future__ import annotations

from datetime import datetime, timedelta
from typing import Any, Final
from urllib.parse import urlencode

import msgspec
from django.conf import settings
from django.contrib.auth.decorators import login_required
from django.http import HttpRequest, HttpResponse, HttpResponseRedirect
from django.template.response import TemplateResponse
from django.urls import reverse
from django.utils.translation import gettext
from django.views.decorators.http import require_safe

from accounts.explain.changes import changes_around
from accounts.explain.ids import LONGEST, request_id_of
from accounts.explain.sentences import LIMITS, REASONS, seconds, span, used, verdict
from accounts.ledger import shared_rows
from accounts.ledger.filing import ORPHANED
from accounts.ledger.lines import UNREADABLE
from accounts.ledger.row import UsageRow
from accounts.ledger.trace import Trace, decoded
from accounts.models import OUTCOME_COLOURS, OpenTurn, Usage
from accounts.pages.content import content_of
from accounts.pages.layout import page
from accounts.pages.query import iso
from accounts.pages.steps import steps_of
from accounts.pages.trace_words import SCOPES, SESSION_STATES, against, characters, model_words, session_words
from accounts.reports.visibility import Visibility, visible_to
from accounts.reports.words import mark_of
from gateway_project.lib.translated import translated

AROUND: Final = timedelta(minutes=5)
UNKNOWN: Final = "–"
KEY_PAGE: Final = "admin:accounts_apikey_change"


@page
@login_required(login_url="login")
@require_safe
def find_request(request: HttpRequest) -> HttpResponse:
    """The search box leads here, and from here to the page with the id in its address."""
    found = request_id_of(request.GET.get("id", ""))
    return HttpResponseRedirect(reverse("usage_request", args=[found]) if found else reverse("usage"))


@page
@login_required(login_url="login")
@require_safe
def usage_request(request: HttpRequest, any_id: str) -> HttpResponse:
    """A request that the reader may not see is answered like one that does not exist."""
    request_id, visible = request_id_of(any_id), visible_to(request.user)
    if request_id and not visible.nothing:
        if row := _row(request_id, visible):
            return _explained(row, request)
        # Before the rows that are shared, for which Redis has to be asked.
        if running := _running(request_id, visible):
            return TemplateResponse(request, "pages/request_running.html", running)
        if (first := shared_rows.row_of(settings.REDIS_URL, request_id)) and (row := _row(first, visible)):
            return _explained(row, request, asked=request_id)
    context = {"asked": any_id[:LONGEST], "days": settings.ENV.usage_retention_days}
    return TemplateResponse(request, "pages/request_missing.html", context, status=404)


def _row(request_id: str, visible: Visibility) -> Usage | None:
    rows = Usage.objects.filter(visible.condition, request_id=request_id)
    return rows.select_related("api_key", "team").first()


def _explained(row: Usage, request: HttpRequest, asked: str = "") -> HttpResponse:
    """`asked`: the id of another refusal that shares the row."""
    context = context_of(row, request) | content_of(row, request) | {"asked": asked}
    response = TemplateResponse(request, "pages/request.html", context)
    if "content" in context:
        response["Cache-Control"] = "no-store"  # what is deleted here must not stay on the disk of a reader
    return response


def _running(request_id: str, visible: Visibility) -> dict[str, Any] | None:
    """What is known of a turn that has not ended yet."""
    opened = OpenTurn.objects.filter(request_id=request_id).first()
    if opened is None:
        return None
    try:
        row = msgspec.json.decode(opened.row, type=UsageRow)
    except UNREADABLE:  # of another version, perhaps
        return None
    if not visible.everything and row.team_id not in visible.teams:
        return None
    return {"row": row, "started_at": opened.started_at}


def context_of(row: Usage, request: HttpRequest) -> dict[str, Any]:
    trace = decoded(row.trace)
    sentence, advice = verdict(row)
    return {
        "row": row,
        "trace": trace,
        "tone": OUTCOME_COLOURS.get(row.status, ""),
        "sentence": translated(sentence),
        "advice": translated(advice),
        "steps": steps_of(row, trace),
        "total": UNKNOWN if row.reason == ORPHANED else seconds(row.total_ms),
        "wait": None if row.retry_after is None else translated(span(row.retry_after)),
        "limits": _limits(row, trace),
        "session": SESSION_STATES.get(row.session, row.session),
        "tokens": _tokens(row),
        "changes": changes_around(row, trace, details=may(request, "bridge.view_instance")),
        "links": _links(row, request),
        "alias_href": _alias_href(trace, request),
        **(_words(row, trace) if trace else {}),
    }


def _words(row: Usage, trace: Trace) -> dict[str, Any]:
    return {
        "model_words": model_words(row, trace),
        "session_words": session_words(trace) if row.instance else "",
        "characters": characters(row, trace),
        "others": [(name, against(reason)) for name, reason in trace.others.items()],
        "lost": [(name, gettext(REASONS[reason][0]) if reason in REASONS else reason) for name, reason in trace.lost],
    }


def _limits(row: Usage, trace: Trace | None) -> list[dict[str, Any]]:
    """The limits as they stood; of a row without a trace, the one that was reached."""
    seen = [(scope, name, f"{used:,}", allowed) for scope, name, used, allowed in (trace.limits if trace else ())]
    if not seen and row.reason in LIMITS and row.allowed is not None:
        seen = [(row.limit_scope, row.reason, translated(used(row)), row.allowed)]
    return [
        {
            "name": gettext(LIMITS.get(name, name)),
            "scope": SCOPES.get(scope, scope),
            "used": words,
            "allowed": f"{allowed:,}",
        }
        for scope, name, words, allowed in seen
    ]


def _tokens(row: Usage) -> dict[str, Any]:
    """What nobody knows is no zero: of a request that never was asked there are no tokens."""
    known = row.tokens_known
    return {
        "prompt": f"{row.prompt_tokens:,}" if known else UNKNOWN,
        "completion": f"{row.completion_tokens:,}" if known else UNKNOWN,
        "mark": mark_of(row),
    }


def _links(row: Usage, request: HttpRequest) -> list[tuple[str, str]]:
    links = []
    if row.api_key_id:
        links.append((gettext("This key, five minutes before and after"), _around(row.started_at, key=row.api_key_id)))
    if row.instance:
        words = gettext("This instance, five minutes before and after")
        links.append((words, _around(row.started_at, instance=row.instance)))
    if row.api_key_id and may(request, "accounts.view_apikey"):
        links.append((gettext("The key in the console"), reverse(KEY_PAGE, args=[row.api_key_id])))
    return links


def _around(at: datetime, **filters: Any) -> str:
    span = {"from": iso(at - AROUND), "to": iso(at + AROUND)}
    return f"{reverse('usage_rows')}?{urlencode({**filters, **span})}"


def _alias_href(trace: Trace | None, request: HttpRequest) -> str:
    if trace is None or not trace.alias or not may(request, "bridge.view_modelalias"):
        return ""
    return f"{reverse('admin:bridge_modelalias_changelist')}?{urlencode({'q': trace.alias})}"


def may(request: HttpRequest, permission: str) -> bool:
    """Whether the reader may see in the console what this permission is about."""
    user: Any = request.user
    return bool(user.is_staff and user.has_perm(permission))
