"""Django's pages: everything but `/v1`, which `asgi` routes ahead of Django."""

from django.contrib import admin
from django.urls import URLPattern, URLResolver, include, path
from django.views.generic import RedirectView

urlpatterns: list[URLPattern | URLResolver] = [
    path("", RedirectView.as_view(pattern_name="admin:index")),
    path("admin/i18n/", include("django.conf.urls.i18n")),  # a choice of language needs no login
    path("admin/", admin.site.urls),
    path("api/", include("accounts.api.urls")),
    path("api/", include("sessions_store.api")),
    path("api/", include("bridge.api")),
    path("", include("accounts.pages.urls")),
]
