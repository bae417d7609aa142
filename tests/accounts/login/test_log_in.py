"""One log-in for console and pages: where it leads, and that it leads nowhere else."""

from urllib.parse import urljoin, urlsplit

import pytest
from django.test import Client

from tests.accounts.login.people import PASSWORD, log_in, person


def test_console_sends_to_the_log_in_and_back(client):
    person(staff=True)
    answer = client.get("/admin/", follow=True)
    assert answer.redirect_chain[-1] == ("/login/?next=/admin/", 302)
    assert log_in(client, next="/admin/accounts/team/").url == "/admin/accounts/team/"


def test_console_takes_forms_at_its_own_address(client):
    person(staff=True)
    assert log_in(client, path="/admin/login/").url == "/admin/"
    assert client.get("/admin/login/?next=/usage/").url == "/usage/"


def test_member_has_no_place_in_the_console(client):
    person()
    assert log_in(client, path="/login/?next=/admin/").url == "/usage/"
    answer = client.get("/admin/", follow=True)
    assert answer.status_code == 403
    assert "no place in the console" in answer.content.decode()


def test_inactive_user_is_refused_as_a_wrong_password(client):
    person(is_active=False)
    inactive, wrong = log_in(client), log_in(client, "nobody")
    assert (inactive.status_code, wrong.status_code) == (200, 200)
    assert inactive.context["form"].errors == wrong.context["form"].errors
    assert "_auth_user_id" not in client.session


@pytest.mark.parametrize(
    "target",
    [
        "https://evil.example/", "//evil.example", "///evil.example", "/\\evil.example", "http:evil.example",
        "javascript:alert(1)", "https:///evil.example", "\thttps://evil.example", "http://localhost/", "http://127.0.0.1:9/",
        "http://testserver@evil.example/", "%2f%2fevil.example/x\r\nSet-Cookie: a=b",
    ],
)  # fmt: skip
@pytest.mark.parametrize("path", ["/login/", "/admin/login/"])
def test_next_parameter_leads_to_no_other_site(client, target, path):
    person(staff=True)
    for answer in (log_in(client, path=path, next=target), client.get(path, {"next": target}, follow=False)):
        where = urlsplit(urljoin("http://testserver/login/", answer.url))
        assert where.netloc == "testserver"
        assert where.path in {"/admin/", "/login/", "/login/%2f%2fevil.example/x%0D%0ASet-Cookie:%20a=b"}
        assert "Set-Cookie" not in answer


def test_session_of_before_is_worth_nothing_afterwards(client):
    """Whoever knows the session of an unauthenticated browser does not get in by it."""
    person()
    client.get("/login/")
    session = client.session
    session["planted"] = 1
    session.save()
    planted = session.session_key
    client.cookies["sessionid"] = planted
    log_in(client)
    assert client.cookies["sessionid"].value != planted
    thief = Client()
    thief.cookies["sessionid"] = planted
    assert thief.get("/usage/").status_code == 302


def test_other_sessions_end_with_the_password(client):
    person()
    log_in(client)
    other = Client()
    log_in(other)
    form = {"old_password": PASSWORD, "new_password1": "another good one", "new_password2": "another good one"}
    assert client.post("/account/password/", form).url == "/account/"
    assert client.get("/account/").status_code == 200
    assert other.get("/account/").url == "/login/?next=/account/"
    assert log_in(Client()).status_code == 200
    assert log_in(Client(), password="another good one").status_code == 302


def test_cookies_are_for_this_site_alone(client):
    person()
    client.get("/login/")
    log_in(client)
    for name in ("sessionid", "csrftoken"):
        assert (client.cookies[name]["httponly"], client.cookies[name]["samesite"]) == (True, "Lax")


def test_sign_up_has_no_page(client):
    for path in ("/signup/", "/accounts/signup/", "/account/signup/", "/login/signup/", "/account/password/reset/"):
        assert client.get(path).status_code == 404
