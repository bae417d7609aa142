"""Rows that are changed or deleted: none that another request deletes meanwhile."""

from __future__ import annotations

from typing import Any

from django.db import transaction
from rest_framework import mixins
from rest_framework.exceptions import NotFound
from rest_framework.request import Request
from rest_framework.response import Response


class HeldUpdates(mixins.UpdateModelMixin):
    """As its parent, but a change is one transaction, in which nobody else deletes the row: too late is 404."""

    def update(self, request: Request, *args: Any, **kwargs: Any) -> Response:
        with transaction.atomic():
            _hold(self)
            return super().update(request, *args, **kwargs)


class HeldDeletions(mixins.DestroyModelMixin):
    """The same of deletions: of two, the second gets 404, and the audit log has the first alone."""

    def destroy(self, request: Request, *args: Any, **kwargs: Any) -> Response:
        with transaction.atomic():
            _hold(self)
            return super().destroy(request, *args, **kwargs)


class HeldRows(HeldUpdates, HeldDeletions):
    """Both, for view sets that have all methods. Before `ModelViewSet`."""


def _hold(view: Any) -> None:
    """Before the view looks the row up: what that reads is as it stays. Others may refer to it meanwhile (`no_key`)."""
    rows = view.queryset.model._base_manager.select_for_update(no_key=True)
    if rows.only("pk").filter(pk=view.kwargs["pk"]).first() is None:
        raise NotFound
