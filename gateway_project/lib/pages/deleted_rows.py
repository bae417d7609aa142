"""Forms of rows that may be deleted by somebody else while they are filled in, or meet what others have just made."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from django.contrib import messages
from django.db import IntegrityError
from django.http import HttpRequest, HttpResponse, HttpResponseRedirect
from django.urls import reverse
from django.utils.translation import gettext

from gateway_project.lib.visible import visible


class DeletedMeanwhile(Exception):
    """The row is not there any more; the message is its name."""


class StaysDeleted:
    """A mixin for a page with a form: what was deleted meanwhile is not made again by saving it.

    Django updates a row by its key, and inserts it where there is none.
    """

    def save_form(self, request: HttpRequest, form: Any, change: bool) -> Any:
        """Before whatever `save_model` does. From then on nobody deletes the row until this request ends.

        Rows that refer to it, such as those of usage, are written all the same (`no_key`).
        """
        obj = super().save_form(request, form, change)  # type: ignore[misc]  # a ModelAdmin's
        if (
            change
            and type(obj)._base_manager.select_for_update(no_key=True).only("pk").filter(pk=obj.pk).first() is None
        ):
            raise DeletedMeanwhile(str(obj))
        return obj

    def changeform_view(self, request: HttpRequest, *args: Any, **kwargs: Any) -> HttpResponse:
        return self._shown(super().changeform_view, request, *args, **kwargs)  # type: ignore[misc]

    def changelist_view(self, request: HttpRequest, *args: Any, **kwargs: Any) -> HttpResponse:
        """Lists whose rows are edited in place have a form for each."""
        return self._shown(super().changelist_view, request, *args, **kwargs)  # type: ignore[misc]

    def delete_view(self, request: HttpRequest, *args: Any, **kwargs: Any) -> HttpResponse:
        """What came to hold the row, after the look for such, is named as any other."""
        return _checked_again(super().delete_view, request, *args, **kwargs)  # type: ignore[misc]

    def _shown(
        self, view: Callable[..., HttpResponse], request: HttpRequest, *args: Any, **kwargs: Any
    ) -> HttpResponse:
        page: Any = self
        try:
            return _checked_again(view, request, *args, **kwargs)
        except DeletedMeanwhile as exc:
            messages.error(
                request,
                gettext("%(name)s has been deleted meanwhile. Nothing was saved.") % {"name": visible(str(exc))},
            )
            opts = page.opts
            return HttpResponseRedirect(reverse(f"admin:{opts.app_label}_{opts.model_name}_changelist"))


def _checked_again(view: Callable[..., HttpResponse], request: HttpRequest, *args: Any, **kwargs: Any) -> HttpResponse:
    """What the form's own check found free, such as a name, another request may take before it is saved."""
    try:
        return view(request, *args, **kwargs)
    except IntegrityError:
        # Nothing was saved. The check now sees the other row, and the form says so with all that was entered.
        return view(request, *args, **kwargs)
