"""What stands in the tab of a browser: first the page, then the gateway, and what answers the chats."""

import re

import pytest
from django.urls import reverse

from accounts.models import Team
from gateway_project.lib import upstream

pytestmark = [pytest.mark.django_db, pytest.mark.usefixtures("redis_server")]


def title_of(page):
    return " ".join(re.search(r"<title>(.*?)</title>", page.content.decode(), re.DOTALL)[1].split())


@pytest.mark.parametrize(
    ("address", "title"),
    [
        ("admin:index", "Overview"), ("admin:accounts_apikey_changelist", "Keys"), ("admin:auth_user_add", "Add user"),
        ("admin:accounts_apikey_whose", "Whose key is this?"), ("usage", "Usage"), ("showback", "Showback"),
    ],
)  # fmt: skip
def test_page_comes_first(admin_client, settings, address, title):
    found = title_of(admin_client.get(reverse(address)))
    assert re.fullmatch(rf"{re.escape(title)}[\d -]* · Lingma Gateway · Simulator", found)


def test_object_stands_before_its_kind(admin_client):
    team = Team.objects.create(name="Ads")
    page = admin_client.get(reverse("admin:accounts_team_change", args=[team.pk]))
    assert title_of(page) == "Ads · Teams · Lingma Gateway · Simulator"
    page = admin_client.get(reverse("admin:accounts_team_delete", args=[team.pk]))
    assert title_of(page) == "Delete · Ads · Lingma Gateway · Simulator"


def test_stranger_reads_what_the_page_is(client):
    assert title_of(client.get(reverse("login"))) == "Log in · Lingma Gateway · Simulator"


@pytest.mark.parametrize(
    ("runs", "ending", "is_simulated"),
    [("", " · Simulator", True), ("simulator", " · Simulator", True), ("lingma", "", False),
     ("attached", " · Lingma, attached", False)],
)  # fmt: skip
def test_title_shows_the_upstream_that_runs(admin_client, monkeypatch, runs, ending, is_simulated):
    monkeypatch.setattr(upstream, "_running", runs)
    page = admin_client.get(reverse("admin:index"))
    assert title_of(page) == f"Overview · Lingma Gateway{ending}"
    assert ("The simulator answers" in page.content.decode()) is is_simulated
    assert title_of(admin_client.get(reverse("usage"))).endswith(f"Lingma Gateway{ending}")
