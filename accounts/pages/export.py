"""`/usage/export.csv` and `/usage/export.json`: the filtered rows, streamed with the memory of one page of them."""

from __future__ import annotations

import csv
import io
import json
from collections.abc import AsyncIterator, Callable
from typing import Any, Final

from asgiref.sync import sync_to_async
from django.contrib.auth.decorators import login_required
from django.core.exceptions import ValidationError
from django.db import connection
from django.http import HttpRequest, StreamingHttpResponse
from django.http.response import HttpResponseBase
from django.views.decorators.http import require_safe

from accounts.pages.layout import usage_page
from accounts.pages.query import query_of, unknown_in
from accounts.pages.refusals import flawed, may_see_nothing, no_such_filter
from accounts.pages.rows import EXPORTED, Exported
from accounts.reports.summary import rows
from accounts.reports.visibility import visible_to
from gateway_project.lib.pages.csv_cells import defused

Encode = Callable[[list[dict[str, Any]], bool], str]


def csv_page(page: list[dict[str, Any]], first: bool) -> str:
    """A page of rows; in front of the `first` stands the header."""
    written = io.StringIO()
    writer = csv.writer(written)
    if first:
        writer.writerow(EXPORTED)
    writer.writerows([[defused(value) for value in row.values()] for row in page])
    return written.getvalue()


def json_page(page: list[dict[str, Any]], first: bool) -> str:
    """A page of rows of one array, which the `first` begins and the caller ends."""
    begin = "[\n" if first else ",\n"
    return begin + ",\n".join(json.dumps(row, ensure_ascii=False) for row in page) if page or first else ""


FORMS: Final[dict[str, tuple[str, Encode, str]]] = {
    "csv": ("text/csv; charset=utf-8", csv_page, ""),
    "json": ("application/json", json_page, "\n]\n"),
}
"""Content type, how a page is written, and what stands at the end."""


@usage_page
@require_safe
@login_required(login_url="login")
def export(request: HttpRequest, form: str) -> HttpResponseBase:
    """All rows that the filters leave; without a filter of time those of all times."""
    visible = visible_to(request.user)
    if visible.nothing:
        return may_see_nothing()
    if words := unknown_in(request):
        return no_such_filter(words)
    try:
        query = query_of(request, default_range="")
    except ValidationError as exc:
        return flawed(exc.message_dict)
    content_type, encode, end = FORMS[form]
    answer = StreamingHttpResponse(
        _pages(Exported(rows(query.filters, visible)), encode, end), content_type=content_type
    )
    answer["Content-Disposition"] = f'attachment; filename="usage-{query.filters.now:%Y-%m-%d}.{form}"'
    answer["X-Accel-Buffering"] = "no"  # a proxy would gather the file before it sends any of it
    return answer


# Asynchronous, as ASGI would else gather a whole synchronous stream before it sends any of it.
async def _pages(exported: Exported, encode: Encode, end: str) -> AsyncIterator[str]:
    """Ends with the client: Django cancels whoever waits here when it has left."""

    def read() -> list[dict[str, Any]]:
        try:
            return exported.read()
        finally:
            # Between two pages the client takes its time; others may have the connection meanwhile.
            if not connection.in_atomic_block:  # as a test is
                connection.close_if_unusable_or_obsolete()

    first = True
    while page := await sync_to_async(read)():
        yield encode(page, first)
        first = False
    # Without any row the header, or the bracket, is still to come.
    yield (encode([], True) if first else "") + end
