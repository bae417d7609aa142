"""Who may use which resource."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final, cast

from django.utils.translation import gettext
from rest_framework import permissions
from rest_framework.exceptions import PermissionDenied
from rest_framework.request import Request

from accounts.api.tokens import allows
from accounts.models import ApiToken
from accounts.reports.visibility import visible_to

if TYPE_CHECKING:  # views read the settings, and these name this module
    from rest_framework.generics import GenericAPIView
    from rest_framework.views import APIView

VIEW: Final = ["%(app_label)s.view_%(model_name)s"]
CHANGE: Final = ["%(app_label)s.change_%(model_name)s"]


class WithinScopes(permissions.BasePermission):
    """A token does no more than its scopes say; `resource` of the view is the word for it."""

    def has_permission(self, request: Request, view: APIView) -> bool:
        if isinstance(request.auth, ApiToken):
            resource = getattr(view, "resource", "")
            if not allows(request.auth, resource, request.method in permissions.SAFE_METHODS):
                raise PermissionDenied(gettext("The token's scopes do not allow this."), code="scope")
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
        # Instead of super's, which knows nothing of actions. Nobody who is anonymous is staff.
        return bool(request.user.is_staff and request.user.has_perms(needed))


class SeesUsage(permissions.IsAuthenticated):
    """Whoever sees usage on the pages: of all, or of the own teams. Members need not be staff."""

    def has_permission(self, request: Request, view: APIView) -> bool:
        return super().has_permission(request, view) and not visible_to(request.user).nothing


class UsesApi(permissions.IsAuthenticated):
    """Whoever may use any of it, for the pages about the API itself."""

    def has_permission(self, request: Request, view: APIView) -> bool:
        if not super().has_permission(request, view):
            return False
        return bool(request.user.is_staff) or not visible_to(request.user).nothing
