"""How the console is put together from what the apps contribute."""

import os
from types import SimpleNamespace

import pytest
from django.contrib import admin
from django.contrib.auth.models import User
from django.db import connection
from django.http import HttpResponse
from django.test import Client, RequestFactory
from django.test.utils import CaptureQueriesContext
from django.urls import reverse

from accounts.admin import panels as access
from bridge.admin import panels as service
from gateway_project.admin import site
from gateway_project.lib.pages.panels import Page, Panel
from tests.prepared import run_code


def test_every_app_with_panels_is_found():
    assert list(site.contributions()) == [access, service]


def test_panels_come_in_their_order(monkeypatch):
    last, first = Panel(position=9), Panel(position=1)
    modules = [SimpleNamespace(panel=lambda request, panel=panel: panel) for panel in (last, None, first)]
    monkeypatch.setattr(site, "contributions", lambda: iter([*modules, SimpleNamespace()]))
    assert site.panels(RequestFactory().get("/")) == [first, last]


PAGES = (
    "/admin/", "/usage/", "/usage/rows/", "/usage/r/", "/usage/showback/", "/playground/", "/account/", "/display/",
    "/api/keys/", "/api/teams/", "/api/usage/", "/api/usage/summary/", "/api/audit/",
    "/api/sessions/", "/api/instances/", "/api/logins/", "/api/aliases/", "/api/prompts/", "/api/alerts/",
)  # fmt: skip


def lists_and_forms():
    for model in admin.site._registry:
        for action in ("changelist", "add"):
            yield reverse(f"admin:{model._meta.app_label}_{model._meta.model_name}_{action}")


@pytest.mark.django_db
def test_page_views_write_nothing(admin_client):
    """Whoever opens a page has asked for nothing else."""
    admin_client.get("/admin/")  # the first look of a session may keep a choice
    written = {}
    for address in [*PAGES, *lists_and_forms()]:
        with CaptureQueriesContext(connection) as queries:
            reply = admin_client.get(address)
        assert reply.status_code in (200, 302, 403), address
        statements = {query["sql"].split()[0] for query in queries} - {"SELECT", "SAVEPOINT", "RELEASE"}
        if statements:
            written[address] = statements
    assert written == {}


@pytest.mark.django_db
def test_a_page_of_an_app_is_for_staff(monkeypatch, rf):
    page = Page("x/", "x", lambda request: HttpResponse("seen"))
    monkeypatch.setattr(site, "contributions", lambda: iter([SimpleNamespace(PAGES=[page])]))
    (url,) = site.GatewayAdminSite().extra_urls()
    request = rf.get("/x/")
    request.user = User.objects.create_user("plain")
    assert url.callback(request).status_code == 302
    request.user = User.objects.create_user("staff", is_staff=True)
    assert (url.name, url.callback(request).content) == ("x", b"seen")


ORDER = """
from django.conf import settings
settings.INSTALLED_APPS.remove("gateway_project.apps.ConsoleConfig")
settings.INSTALLED_APPS.insert({place}, "gateway_project.apps.ConsoleConfig")
import django
django.setup()
from django.contrib import admin
print(sorted(f"{{page.__class__.__module__}}.{{page.__class__.__name__}}" for page in admin.site._registry.values()))
import sys
import gateway_project.asgi
assert "twisted" not in sys.modules, "24 MiB in each process, for a server that few choose"
"""


def test_the_order_of_the_apps_changes_nothing():
    env = os.environ | {"DJANGO_SETTINGS_MODULE": "gateway_project.settings"}
    first, last = (run_code(ORDER.format(place=place), env=env) for place in (0, 99))
    assert "gateway_project.admin.users.UserAdmin" in first.stdout
    assert first.stdout == last.stdout


@pytest.mark.parametrize(
    ("content_type", "body"),
    [
        ("multipart/form-data", b"x"),
        (
            "multipart/form-data; boundary=b",
            b'--b\r\nContent-Disposition: form-data; name="f"; filename="f"\r\n\r\n\r\n' * 200,
        ),
    ],
    ids=["no boundary", "too many files"],
)
def test_unreadable_form_at_unknown_path_is_404(content_type, body):
    client = Client(enforce_csrf_checks=True)
    client.cookies["csrftoken"] = "a" * 32
    assert client.post("/nothing/here/", body, content_type=content_type).status_code == 404
