"""What every view of the operators' API has in common; `REST_FRAMEWORK` in the settings names it."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, cast

from django.core.exceptions import ValidationError
from django.db import DataError
from django.db.models import QuerySet
from rest_framework import permissions
from rest_framework.exceptions import ParseError
from rest_framework.pagination import CursorPagination
from rest_framework.request import Request

if TYPE_CHECKING:  # views read the settings, and these name this module
    from rest_framework.generics import GenericAPIView
    from rest_framework.views import APIView

VIEW = ["%(app_label)s.view_%(model_name)s"]


class ModelPermissions(permissions.DjangoModelPermissions):
    """Staff with Django's permissions for the model, as in the console: also to read."""

    perms_map = permissions.DjangoModelPermissions.perms_map | dict.fromkeys(("GET", "HEAD", "OPTIONS"), VIEW)

    def has_permission(self, request: Request, view: APIView) -> bool:
        """A method that the view does not have needs the right to view; then DRF answers 405."""
        method = request.method if request.method in view.allowed_methods else "GET"
        model = cast("GenericAPIView[Any]", view).get_queryset().model
        # DRF's own asks for no permission on GET; here reading needs the same right as in the console.
        return bool(request.user.is_staff and request.user.has_perms(self.get_required_permissions(method, model)))


class InOrder(CursorPagination):
    """Pages in the order of the view's `ordering`, without counting; `next` and `previous` are URLs."""

    page_size = 100
    page_size_query_param = "page_size"
    max_page_size = 1000

    def paginate_queryset(self, queryset: Any, request: Request, view: APIView | None = None) -> Any:
        """Raise ParseError for a cursor or a filter with a value that no column can have."""
        try:
            return super().paginate_queryset(queryset, request, view)
        # A cursor is the client's text: a forged one is a mistake of the caller, not an error of ours.
        except (ValidationError, ValueError, OverflowError, DataError) as exc:
            raise ParseError("A value in the address is none that a column can have.") from exc

    def get_ordering(self, request: Request, queryset: QuerySet[Any], view: APIView) -> tuple[str, ...]:
        ordering: tuple[str, ...] = view.ordering  # type: ignore[attr-defined]  # ours have one
        return ordering
