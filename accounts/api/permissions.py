"""Who may use which resource."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any, Final, cast

from django.contrib.auth.models import Permission
from django.utils.translation import gettext
from rest_framework import permissions
from rest_framework.exceptions import PermissionDenied
from rest_framework.request import Request

from accounts.api.tokens import refusal_of
from accounts.models import ApiToken
from accounts.reports.visibility import visible_to, why_nothing

if TYPE_CHECKING:  # views read the settings, and these name this module
    from rest_framework.generics import GenericAPIView
    from rest_framework.views import APIView

VIEW: Final = ["%(app_label)s.view_%(model_name)s"]
CHANGE: Final = ["%(app_label)s.change_%(model_name)s"]


def what_lacks(user: Any, needed: Sequence[str]) -> str:
    """Why the user may not do what takes these permissions, as a sentence; "" for one who may.

    All of it is for staff, as the console is. Nobody who is anonymous is.
    """
    name = user.get_username()
    if not user.is_staff:
        return gettext("This takes staff status, which %(user)s does not have.") % {"user": name}
    lacking = [each for each in needed if not user.has_perm(each)]
    if not lacking:
        return ""
    if not all(_can_be_given(each) for each in lacking):
        return gettext("Only superusers may do this.")
    words = {"right": ", ".join(lacking), "user": name}
    return gettext("This takes the right %(right)s, which %(user)s does not have.") % words


def _can_be_given(right: str) -> bool:
    """Some models have no right to add or to delete."""
    label, _, codename = right.partition(".")
    return Permission.objects.filter(content_type__app_label=label, codename=codename).exists()


class WithinScopes(permissions.BasePermission):
    """A token does no more than its scopes say; `resource` of the view is the word for it."""

    def has_permission(self, request: Request, view: APIView) -> bool:
        if isinstance(request.auth, ApiToken):
            resource = getattr(view, "resource", "")
            if words := refusal_of(request.auth, resource, request.method in permissions.SAFE_METHODS):
                raise PermissionDenied(words, code="scope")
        return True


class ModelPermissions(permissions.DjangoModelPermissions):
    """Staff with Django's permissions for the model, as in the console: also to read."""

    perms_map = permissions.DjangoModelPermissions.perms_map | dict.fromkeys(("GET", "HEAD", "OPTIONS"), VIEW)

    def has_permission(self, request: Request, view: APIView) -> bool:
        """A method that the view does not have needs the right to view; then DRF answers 405."""
        method = request.method if request.method in view.allowed_methods else "GET"
        model = cast("GenericAPIView[Any]", view).get_queryset().model
        needed = self.get_required_permissions(method, model)
        # To rotate or to pause is a change, though it is a POST; to have no default version, though it is a DELETE.
        if getattr(view, "detail", False) and (
            method == "POST" or (method == "DELETE" and getattr(view, "action", "") != "destroy")
        ):
            words = {"app_label": model._meta.app_label, "model_name": model._meta.model_name}
            needed = [permission % words for permission in CHANGE]
        # Instead of super's, which knows nothing of actions.
        self.message = what_lacks(request.user, needed)
        return not self.message


class SeesUsage(permissions.IsAuthenticated):
    """Whoever sees usage on the pages: of all, or of the own teams. Members need not be staff."""

    def has_permission(self, request: Request, view: APIView) -> bool:
        self.message = why_nothing()
        return super().has_permission(request, view) and not visible_to(request.user).nothing


class UsesApi(permissions.IsAuthenticated):
    """Whoever may use any of it, for the pages about the API itself."""

    def has_permission(self, request: Request, view: APIView) -> bool:
        if not super().has_permission(request, view):
            return False
        self.message = why_nothing()
        return bool(request.user.is_staff) or not visible_to(request.user).nothing
