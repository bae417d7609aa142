"""`/api/versions/`: what was installed."""

from __future__ import annotations

from http import HTTPStatus
from typing import Any, ClassVar

from django.conf import settings
from drf_spectacular.types import OpenApiTypes
from drf_spectacular.utils import extend_schema, extend_schema_field
from rest_framework import mixins, serializers
from rest_framework.decorators import action
from rest_framework.exceptions import APIException, NotFound, PermissionDenied
from rest_framework.request import Request
from rest_framework.response import Response
from rest_framework.viewsets import GenericViewSet

from accounts.api.lists import is_equal
from accounts.api.problems import Conflict
from bridge.fleet import versions
from bridge.fleet.versions import NotInstalled, UnknownVersion, VersionInUse
from bridge.models import Version
from gateway_project.lib.pages.uploads import NotUploaded, is_asked, upload_of
from gateway_project.lib.translated import translated


class VersionSerializer(serializers.ModelSerializer[Version]):
    instances = serializers.SerializerMethodField(help_text="Those that are ordered to run it, and no default.")

    class Meta:
        model = Version
        exclude = ("position",)

    @extend_schema_field(serializers.ListField(child=serializers.CharField()))
    def get_instances(self, row: Version) -> list[str]:
        return sorted(order.name for order in row.orders.all())


class UnusableFile(APIException):
    """The VSIX that was sent is of no use, or could not be kept."""

    default_code = "unusable_file"

    def __init__(self, detail: str, status: HTTPStatus) -> None:
        super().__init__(detail)
        self.status_code = status


class VersionUploadSerializer(serializers.Serializer[Any]):
    file = serializers.FileField(help_text="A VSIX; as application/octet-stream it may also be the body alone.")
    sha256 = serializers.CharField(required=False, help_text="The digest that it must have.")
    default = serializers.BooleanField(required=False, help_text="Make it the default.")


UPLOADED = {"multipart/form-data": VersionUploadSerializer, "application/octet-stream": OpenApiTypes.BINARY}


class VersionViewSet(
    mixins.ListModelMixin, mixins.RetrieveModelMixin, mixins.DestroyModelMixin, GenericViewSet[Version]
):
    """Versions of Lingma that were installed; instances are moved with `move`."""

    resource = "versions"
    queryset = Version.objects.prefetch_related("orders")
    serializer_class = VersionSerializer
    lookup_value_regex = "[0-9]+"
    ordering = ("-position", "id")
    ordering_fields = ("installed_at", "id")
    filters: ClassVar = {"version": is_equal("version")}

    @extend_schema(request=UPLOADED, responses={HTTPStatus.CREATED: VersionSerializer})
    def create(self, request: Request) -> Response:
        """Unpack a VSIX on the machine that answers, beside the others; for superusers. `sha256` and `default` come
        before the file, or in the query.
        """
        if not request.user.is_superuser:
            raise PermissionDenied
        if is_asked(request):
            return Response(status=HTTPStatus.NO_CONTENT)
        try:
            upload = upload_of(request)
            fields = request.query_params.dict() | upload.fields
            is_default = fields.get("default", "").lower() in serializers.BooleanField.TRUE_VALUES
            row = versions.install_upload(upload, settings.DATA_DIR, fields.get("sha256", ""), default=is_default)
        except (NotUploaded, NotInstalled) as exc:
            raise UnusableFile(translated(exc.text), exc.status) from None
        return Response(VersionSerializer(row, context=self.get_serializer_context()).data, status=HTTPStatus.CREATED)

    @extend_schema(request=None, responses=VersionSerializer)
    @action(detail=True, methods=["post"])
    def default(self, request: Request, pk: str = "") -> Response:
        """Have every instance run it that is not ordered to run another."""
        try:
            versions.make_default(self.get_object())
        except UnknownVersion as exc:
            raise NotFound(str(exc)) from None
        return Response(VersionSerializer(self.get_object(), context=self.get_serializer_context()).data)

    @extend_schema(request=None, responses=VersionSerializer)
    @default.mapping.delete
    def no_default(self, request: Request, pk: str = "") -> Response:
        """If it is the default: have no default, so that what has no order runs what the settings say."""
        if self.get_object().is_default:
            versions.make_default(None)
        return Response(VersionSerializer(self.get_object(), context=self.get_serializer_context()).data)

    def perform_destroy(self, instance: Version) -> None:
        """With the files of the machine that answers; 409 while it is the default, or ordered for an instance."""
        try:
            versions.delete(instance, settings.DATA_DIR)
        except VersionInUse as exc:
            raise Conflict(str(exc)) from None
