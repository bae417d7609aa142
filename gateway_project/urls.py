"""Django's pages: everything but `/v1`, which `asgi` routes ahead of Django."""

from django.contrib import admin
from django.urls import URLPattern, URLResolver, include, path

urlpatterns: list[URLPattern | URLResolver] = [
    path("admin/", admin.site.urls),
    path("api/", include("accounts.urls")),
]
