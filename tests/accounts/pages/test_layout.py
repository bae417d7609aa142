import re
from contextlib import suppress

import pytest
from django.contrib.auth.models import User
from django.test import Client
from django.urls import NoReverseMatch, get_resolver, reverse

from accounts.models import Team

pytestmark = pytest.mark.django_db


@pytest.fixture
def member():
    member = User.objects.create_user("member", password="a good password")
    member.teams.add(Team.objects.create(name="Ads", time_zone="Asia/Shanghai"))
    return member


def test_stranger_is_sent_to_log_in(client):
    answer = client.get("/usage/?range=7d")
    assert (answer.status_code, answer.url) == (302, "/login/?next=/usage/%3Frange%3D7d")


def test_member_without_staff_status_logs_in(client, member):
    form = {"username": "member", "password": "a good password", "next": "/usage/?range=7d"}
    assert client.post("/login/", form).url == "/usage/?range=7d"
    page = client.get("/usage/").content.decode()
    assert "member" in page
    assert "/admin/" not in page.replace("/admin/i18n/", "")
    assert client.post("/logout/").url == "/login/"
    assert client.get("/usage/").status_code == 302


def test_log_in_leads_to_no_other_site(client, member):
    form = {"username": "member", "password": "a good password", "next": "https://evil.example/"}
    assert client.post("/login/", form).url == "/usage/"


def test_wrong_password_is_reported(client, member):
    page = client.post("/login/", {"username": "member", "password": "wrong"})
    assert page.status_code == 200
    assert "correct username and password" in page.content.decode()


def test_staff_goes_on_to_the_console(client):
    User.objects.create_superuser("root", password="a good password")
    assert client.post("/login/", {"username": "root", "password": "a good password"}).url == "/admin/"


def test_user_without_rights_gets_403(client):
    client.force_login(User.objects.create_user("nobody"))
    page = client.get("/usage/")
    assert page.status_code == 403
    assert "You may not see usage" in page.content.decode()


@pytest.mark.parametrize("path", ["/login/", "/display/", "/usage/"])
def test_pages_have_strict_policy_and_nothing_inline(client, member, path):
    if path != "/login/":
        client.force_login(member)
    page = client.get(path)
    assert page["Content-Security-Policy"].startswith("default-src 'self';")
    assert "unsafe" not in page["Content-Security-Policy"]
    assert not re.search(r"<style|<script(?![^>]* src=)|\sstyle=|\son[a-z]+=|javascript:", page.content.decode())


def test_pages_are_stored_by_no_browser(admin_client):
    names = {name for name in get_resolver().reverse_dict if isinstance(name, str)}
    kept = {}
    for name in sorted(names):
        with suppress(NoReverseMatch):
            answer = admin_client.get(reverse(name))
            if answer.status_code == 200 and "no-store" not in answer.get("Cache-Control", ""):
                kept[name] = answer.get("Cache-Control")
    assert {"usage", "usage_rows", "usage_export_csv", "showback", "mfa_index", "me"} <= names
    assert kept == {}


def test_environment_is_on_each_page(client):
    assert "Simulator" in client.get("/login/").content.decode()


def test_zone_is_chosen_and_kept(client, member):
    client.force_login(member)
    assert "Asia/Shanghai" in client.get("/display/").content.decode()
    answer = client.post("/display/", {"zone": "Asia/Kolkata", "next": "/usage/?range=7d"})
    assert (answer.status_code, answer.url) == (302, "/usage/?range=7d")
    assert client.cookies["lgw_zone"]["httponly"]
    assert "Asia/Kolkata ·" in client.get("/usage/").content.decode()


def test_zone_without_choice_is_the_teams(client, member):
    client.force_login(member)
    for path in ("/usage/", "/usage/rows/", "/usage/?team=Ads"):
        page = client.get(path).content.decode()
        assert "Times are in Asia/Shanghai, the team&#x27;s." in page
        assert "Asia/Shanghai ·" in page
    assert "UTC ·" in client.get("/account/").content.decode()
    client.post("/display/", {"zone": "Asia/Kolkata"})
    assert "Times are in Asia/Kolkata, the one that you chose." in client.get("/usage/").content.decode()
    client.post("/display/", {"zone": "auto"})
    assert "Times are in Asia/Shanghai" in client.get("/usage/").content.decode()


def test_zone_of_a_team_is_nothing_to_others(client, member):
    Team.objects.create(name="Maps", time_zone="Asia/Kolkata")
    client.force_login(User.objects.create_superuser("viewer"))
    said = "Times are in {}, the {}&#x27;s."
    pages = {"": ("UTC", "gateway"), "?team=Maps": ("Asia/Kolkata", "team"), "?team=Maps&team=Ads": ("UTC", "gateway")}
    for query, words in pages.items():
        assert said.format(*words) in client.get(f"/usage/{query}").content.decode()
    client.force_login(member)
    assert said.format("UTC", "gateway") in client.get("/usage/?team=Maps").content.decode()


@pytest.mark.parametrize("zone", ["Mars/Base", "../../etc/passwd", ""])
def test_unknown_zone_changes_nothing(client, zone):
    client.post("/display/", {"zone": zone})
    assert "lgw_zone" not in client.cookies
    client.cookies["lgw_zone"] = zone
    assert client.get("/login/").status_code == 200


def test_choice_leads_to_no_other_site(client):
    assert client.post("/display/", {"zone": "UTC", "next": "//evil.example"}).url == "/usage/"


def test_forms_are_checked_for_forgery():
    assert Client(enforce_csrf_checks=True).post("/display/", {"zone": "UTC"}).status_code == 403
