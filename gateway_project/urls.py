"""Django's pages: everything but `/v1`, which `asgi` routes ahead of Django."""

from contextlib import suppress

from django.contrib import admin
from django.core.exceptions import TooManyFilesSent
from django.http import HttpRequest, HttpResponse
from django.http.multipartparser import MultiPartParserError
from django.urls import URLPattern, URLResolver, include, path
from django.views import defaults
from django.views.generic import RedirectView

from accounts.api.by_token import by_token
from accounts.pages.export import export
from accounts.pages.showback import showback_export

usage_file, showback_file = by_token("usage", export), by_token("usage", showback_export)

urlpatterns: list[URLPattern | URLResolver] = [
    path("", RedirectView.as_view(pattern_name="admin:index")),
    path("admin/i18n/", include("django.conf.urls.i18n")),  # a choice of language needs no login
    path("admin/", admin.site.urls),
    path("api/", include("accounts.api.urls")),
    path("api/", include("sessions_store.api")),
    path("api/", include("bridge.api.urls")),
    path("usage/export.csv", usage_file, {"form": "csv"}, name="usage_export_csv"),
    path("usage/export.json", usage_file, {"form": "json"}, name="usage_export_json"),
    path("usage/showback/export.csv", showback_file, {"form": "csv"}, name="showback_csv"),
    path("usage/showback/export.json", showback_file, {"form": "json"}, name="showback_json"),
    path("", include("accounts.pages.urls")),
]


def handler404(request: HttpRequest, exception: Exception) -> HttpResponse:
    """The page that says so. Django's own reads the form, for a token, and fails over one that cannot be read."""
    with suppress(MultiPartParserError, TooManyFilesSent):
        _ = request.POST  # Django reads it once, and takes it for empty from then on
    return defaults.page_not_found(request, exception)
