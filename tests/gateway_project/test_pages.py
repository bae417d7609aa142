"""Pages that belong to no room: the root and the errors."""

import pytest
from django.core.exceptions import PermissionDenied
from django.test import Client, override_settings
from django.urls import path


def refuse(request):
    raise PermissionDenied


def break_down(request):
    raise RuntimeError("secret detail")


urlpatterns = [path("refuse/", refuse), path("break/", break_down)]


def test_the_root_leads_to_the_console(client):
    assert client.get("/").url == "/admin/"


@override_settings(ROOT_URLCONF=__name__)
@pytest.mark.parametrize(
    ("address", "status", "told"),
    [("/refuse/", 403, "You may not see this"), ("/break/", 500, "Something went wrong"), ("/x/", 404, "nothing here")],
)
def test_error_pages_have_our_look_without_details(address, status, told):
    page = Client(raise_request_exception=False).get(address)
    assert page.status_code == status
    text = page.content.decode()
    assert told in text
    assert "Lingma Gateway" in text
    assert "secret detail" not in text


def test_foreign_form_is_refused_in_our_words():
    page = Client(enforce_csrf_checks=True).post("/admin/login/", {"username": "a"})
    assert page.status_code == 403
    assert "The form could not be checked" in page.content.decode()
