"""Django's pages: everything but `/v1`, which `asgi` routes ahead of Django."""

from django.contrib import admin
from django.urls import URLPattern, URLResolver, path

urlpatterns: list[URLPattern | URLResolver] = [path("admin/", admin.site.urls)]
