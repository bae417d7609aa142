"""The OpenAPI document of the API, and the pages that show it, from our own static files."""

from __future__ import annotations

from functools import lru_cache
from pathlib import Path
from typing import Any, Final

import drf_spectacular_sidecar
from django.contrib.auth.views import redirect_to_login
from django.http import HttpRequest, HttpResponse
from django.http.response import HttpResponseBase
from django.shortcuts import render
from django.urls import reverse
from django.utils.translation import get_language
from django.views.static import serve
from drf_spectacular.extensions import OpenApiAuthenticationExtension
from drf_spectacular.generators import SchemaGenerator
from drf_spectacular.renderers import (
    OpenApiJsonRenderer,
    OpenApiJsonRenderer2,
    OpenApiYamlRenderer,
    OpenApiYamlRenderer2,
)
from drf_spectacular.utils import extend_schema
from drf_spectacular.views import SpectacularAPIView
from rest_framework.exceptions import NotAuthenticated
from rest_framework.negotiation import BaseContentNegotiation
from rest_framework.request import Request
from rest_framework.views import APIView

from accounts.api.idempotency import HEADER, LONGEST
from accounts.api.permissions import UsesApi
from gateway_project.lib.problem_details import PROBLEM

SWAGGER: Final = Path(drf_spectacular_sidecar.__file__).parent / "static/drf_spectacular_sidecar/swagger-ui-dist"
ASSETS: Final = "swagger-ui-bundle.js|swagger-ui.css"
CONTENT_POLICY: Final = (
    "default-src 'self'; img-src 'self' data:; object-src 'none'; base-uri 'none'; form-action 'self';"
    " frame-ancestors 'none'"
)
IDEMPOTENCY_KEY: Final = {
    "name": HEADER, "in": "header", "required": False, "schema": {"type": "string", "maxLength": LONGEST},
    "description": (
        "Within a day the same key and body get the same answer, and make nothing a second time;"
        " with another body the key is refused with 422."
    ),
}  # fmt: skip
PROBLEM_SCHEMA: Final = {
    "type": "object",
    "description": "Problem details, RFC 9457.",
    "required": ["type", "title", "status"],
    "properties": {
        "type": {"type": "string"},
        "title": {"type": "string"},
        "status": {"type": "integer"},
        "detail": {"type": "string"},
        "code": {"type": "string"},
        "errors": {
            "type": "object",
            "description": "Names of fields to their messages.",
            "additionalProperties": {"type": "array", "items": {"type": "string"}},
        },
    },
}


# drf-spectacular finds it among the subclasses of its base, once this module is imported.
class TokenScheme(OpenApiAuthenticationExtension):  # type: ignore[no-untyped-call]
    target_class = "accounts.api.tokens.TokenAuthentication"
    name = "token"

    def get_security_definition(self, auto_schema: Any) -> dict[str, Any]:
        return {
            "type": "apiKey", "in": "header", "name": "Authorization",
            "description": "`Token …`, made with `manage.py create_api_token USER`.",
        }  # fmt: skip


@lru_cache(maxsize=8)  # whoever asks may name any language
def _document(_language: str) -> dict[str, Any]:
    # Public: all of it, whoever asks first; who may see it is for the views to decide.
    document: dict[str, Any] = SchemaGenerator().get_schema(public=True)  # type: ignore[no-untyped-call]
    return document


class Generator(SchemaGenerator):
    """Made once for each language: it is the same for all who may see it, and takes a third of a second."""

    def get_schema(self, request: Any = None, public: bool = False) -> dict[str, Any]:
        return _document(get_language() or "")


class Document(SpectacularAPIView):
    """The OpenAPI document of this API."""

    generator_class = Generator
    permission_classes = (UsesApi,)
    # JSON for whoever does not choose: every program reads it.
    renderer_classes = (  # type: ignore[assignment]
        OpenApiJsonRenderer2, OpenApiJsonRenderer, OpenApiYamlRenderer, OpenApiYamlRenderer2,
    )  # fmt: skip


class HtmlAlone(BaseContentNegotiation):
    """Whatever a client accepts, there is one answer."""

    def select_parser(self, request: Any, parsers: Any) -> Any:
        return parsers[0]

    def select_renderer(self, request: Any, renderers: Any, format_suffix: Any = None) -> Any:
        return renderers[0], renderers[0].media_type


class Docs(APIView):
    """A page that shows the document, and tries it out with the reader's own session."""

    permission_classes = (UsesApi,)
    content_negotiation_class = HtmlAlone

    @extend_schema(exclude=True)
    def get(self, request: Request) -> HttpResponse:
        page = render(request, "pages/api.html")
        page.headers["Content-Security-Policy"] = CONTENT_POLICY
        return page

    def handle_exception(self, exc: Exception) -> Any:
        if isinstance(exc, NotAuthenticated) and "text/html" in self.request.headers.get("Accept", ""):
            return redirect_to_login(self.request.get_full_path(), reverse("login"))
        return super().handle_exception(exc)


def asset(request: HttpRequest, name: str) -> HttpResponseBase:
    """A file of Swagger UI, from its package.

    Not among the collected static files: maps and compressed copies would take 24 MB of each installation.
    """
    answer = serve(request, name, document_root=str(SWAGGER))
    answer.headers["Cache-Control"] = "public, max-age=86400"
    return answer


def complete(result: dict[str, Any], **_: Any) -> dict[str, Any]:
    """A hook of drf-spectacular: what all operations have in common."""
    result["components"]["schemas"]["Problem"] = PROBLEM_SCHEMA
    for schema in result["components"]["schemas"].values():
        # What is only read is always there, but for these.
        if "warnings" in schema.get("required", ()):
            schema["required"].remove("warnings")
    answer = {"schema": {"$ref": "#/components/schemas/Problem"}}
    for path, operations in result["paths"].items():
        for method, operation in operations.items():
            operation["responses"]["default"] = {"description": "An error.", "content": {PROBLEM: answer}}
            # A POST to a collection creates; one below an object is an action.
            if method == "post" and "{" not in path:
                operation.setdefault("parameters", []).append(IDEMPOTENCY_KEY)
    return result
