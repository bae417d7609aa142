"""Lists of the API: filters, an order, and pages of it."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import TYPE_CHECKING, Any, Final, NamedTuple

from django.core.exceptions import ValidationError
from django.db import DataError
from django.db.models import QuerySet
from django.utils.translation import gettext
from rest_framework import serializers
from rest_framework.exceptions import ParseError
from rest_framework.filters import BaseFilterBackend
from rest_framework.pagination import CursorPagination
from rest_framework.request import Request

if TYPE_CHECKING:  # views read the settings, and these name this module
    from rest_framework.views import APIView

PAGING: Final = ("cursor", "page_size", "ordering", "format")
LONGEST: Final = 200


class InOrder(CursorPagination):
    """Pages in the order that was asked for, without counting; `next` and `previous` are URLs."""

    page_size = 100
    page_size_query_param = "page_size"
    max_page_size = 1000
    # However many rows have one value: DRF's own bound would give the same page again and again, without an end.
    offset_cutoff = None  # type: ignore[assignment]  # DRF takes it for no bound

    def paginate_queryset(self, queryset: Any, request: Request, view: APIView | None = None) -> Any:
        """Raise ParseError for a cursor or a filter with a value that no column can have."""
        try:
            return super().paginate_queryset(queryset, request, view)
        # A cursor is the client's text: a forged one is a mistake of the caller, not an error of ours.
        except (ValidationError, ValueError, OverflowError, DataError) as exc:
            raise ParseError(gettext("A value in the address is none that a column can have.")) from exc


class Ordering(BaseFilterBackend):
    """`ordering=name` or `-name`, of the view's `ordering_fields`; else the view's `ordering`.

    The fields have few rows of one value: a cursor counts on from the last different one.
    """

    def get_ordering(self, request: Request, queryset: QuerySet[Any], view: Any) -> tuple[str, ...]:
        """Called by the paginator. Raise ValidationError for a field there is no order by."""
        asked = request.query_params.get("ordering", "")
        if not asked:
            ordering: tuple[str, ...] = view.ordering
            return ordering
        if asked.removeprefix("-") not in view.ordering_fields:
            words = {"value": asked[:LONGEST], "choices": ", ".join(view.ordering_fields)}
            raise serializers.ValidationError({"ordering": gettext("%(value)s is not one of %(choices)s.") % words})
        # By the key as well, so that rows of one value keep their places from page to page.
        return (asked, "-pk" if asked.startswith("-") else "pk")

    def filter_queryset(self, request: Request, queryset: QuerySet[Any], view: APIView) -> QuerySet[Any]:
        # The paginator looks among the filters for one with `get_ordering`, and orders by that.
        return queryset

    def get_schema_operation_parameters(self, view: Any) -> list[dict[str, Any]]:
        choices = [name for field in view.ordering_fields for name in (field, f"-{field}")]
        schema = {"type": "string", "enum": choices}
        described = "With - in front the other way round."
        return [{"name": "ordering", "in": "query", "required": False, "description": described, "schema": schema}]


class Filter(NamedTuple):
    """One parameter of a list: what rows it leaves, and what it may be."""

    apply: Callable[[QuerySet[Any], str], QuerySet[Any]]
    description: str = ""
    choices: Sequence[str] = ()


def is_equal(column: str, description: str = "", choices: Sequence[str] = ()) -> Filter:
    return Filter(lambda queryset, value: queryset.filter(**{column: value}), description, choices)


class ByParameters(BaseFilterBackend):
    """The view's `filters`. A name that is none of them is refused: with a slip in it, all rows would be the answer."""

    def filter_queryset(self, request: Request, queryset: QuerySet[Any], view: APIView) -> QuerySet[Any]:
        filters: Mapping[str, Filter] = getattr(view, "filters", {})
        refuse_unknown(request, (*PAGING, *filters))
        for name, each in filters.items():
            value = request.query_params.get(name, "")
            if not value:
                continue
            # PostgreSQL takes no NUL in text, and raises.
            if "\0" in value or len(value) > LONGEST:
                raise serializers.ValidationError({name: gettext("This is longer than any value can be.")})
            if each.choices and value not in each.choices:
                words = {"value": value, "choices": ", ".join(each.choices)}
                raise serializers.ValidationError({name: gettext("%(value)s is not one of %(choices)s.") % words})
            queryset = each.apply(queryset, value)
        return queryset

    def get_schema_operation_parameters(self, view: Any) -> list[dict[str, Any]]:
        parameters = []
        for name, each in getattr(view, "filters", {}).items():
            schema = {"type": "string"} | ({"enum": list(each.choices)} if each.choices else {})
            parameters.append(
                {"name": name, "in": "query", "required": False, "description": each.description, "schema": schema}
            )
        return parameters


def refuse_unknown(request: Request, known: Sequence[str]) -> None:
    """Raise ValidationError for a parameter that nobody reads."""
    if unknown := sorted(set(request.query_params) - set(known)):
        words = {"choices": ", ".join(sorted(known))}
        raise serializers.ValidationError(
            {unknown[0][:LONGEST]: gettext("There is no such parameter. Known: %(choices)s.") % words}
        )
