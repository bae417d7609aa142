import json
import re

import pytest
from django.test import Client
from django.urls import reverse

from accounts.models import ApiKey, AuditEntry, Team

pytestmark = pytest.mark.django_db

PAGE, BEGIN, END = "/playground/", "/playground/key/", "/playground/key/end/"


def live_keys():
    return ApiKey.objects.filter(revoked_at=None).exclude(playground_user=None)


@pytest.mark.parametrize("path", [PAGE, BEGIN, END])
@pytest.mark.parametrize("method", ["get", "head", "post", "put", "delete"])
def test_each_address_takes_its_methods(client, people, path, method):
    people.client(client, "operator")
    answer = getattr(client, method)(path)
    taken = {"get", "head"} if path == PAGE else {"post"}
    assert (answer.status_code == 405) == (method not in taken)


def test_page_may_speak_with_this_gateway_alone(client, people):
    for role, status in (("operator", 200), ("viewer", 403), ("anonymous", 302)):
        people.client(client, role)
        answer = client.get(PAGE)
        assert answer.status_code == status
        if status != 302:
            assert answer["Content-Security-Policy"] == (
                "default-src 'none'; script-src 'self'; style-src 'self'; connect-src 'self'; img-src 'self'; "
                "base-uri 'none'; form-action 'self'; frame-ancestors 'none'"
            )
            assert answer["Cache-Control"] == "no-store"
            assert not re.search(
                r"<style|<script(?![^>]* src=)|\sstyle=|\son[a-z]+=|javascript:", answer.content.decode()
            )


def test_secret_stands_in_one_answer_alone(client, people):
    people.client(client, "operator")
    answer = client.post(BEGIN)
    told = answer.json()
    assert (answer.status_code, answer["Cache-Control"]) == (201, "no-store")
    assert told["name"] == "playground: operator"
    [key] = live_keys()
    assert told["secret"].startswith(key.hint)
    page = client.get(PAGE).content.decode()
    assert "playground: operator" in page
    assert told["secret"] not in page
    assert told["secret"] not in json.dumps(list(AuditEntry.objects.values("object_text", "changes")))


def test_life_of_a_key_is_audited_by_name(client, people):
    people.client(client, "operator")
    client.post(BEGIN)
    client.post(BEGIN)
    assert client.post(END).json() == {"ended": True}
    assert client.post(END).json() == {"ended": False}
    rows = AuditEntry.objects.filter(object_text__startswith="playground: operator").order_by("pk")
    assert [(row.action, row.actor) for row in rows] == [
        (action, "operator") for action in ("created", "revoked", "created", "revoked")
    ]
    assert not live_keys().exists()


def test_lead_gets_a_key_of_own_teams_alone(client, people):
    people.client(client, "lead")
    page = client.get(PAGE).content.decode()
    assert "team-a" in page
    assert "team-b" not in page
    for team in ("", str(people.b.pk), "x", "9" * 30, "٣"):
        answer = client.post(BEGIN, {"team": team})
        assert (answer.status_code, answer.json()["error"]) == (400, "Choose a team that you are a member of.")
    assert client.post(BEGIN, {"team": people.a.pk}).status_code == 201
    assert live_keys().get().team == people.a


def test_lead_without_a_team_pastes(client, people):
    people.a.members.clear()
    people.client(client, "lead")
    page = client.get(PAGE).content.decode()
    assert "You are in no team" in page
    assert client.post(BEGIN).status_code == 400


def test_operator_chooses_any_team_or_none(client, people):
    people.client(client, "operator")
    for team in ("", people.b.pk):
        assert client.post(BEGIN, {"team": team}).status_code == 201
        assert live_keys().get().team_id == (team or None)


def test_name_in_use_is_told(client, people):
    people.client(client, "operator")
    names = ["playground: operator", f"playground: operator ({people.users['operator'].pk})"]
    for number, name in enumerate(names):
        ApiKey.objects.create(name=name, digest=str(number))
    answer = client.post(BEGIN)
    assert answer.status_code == 400
    assert "name" in answer.json()["error"]


def test_keys_are_made_by_our_own_page(people):
    client = Client(enforce_csrf_checks=True)
    client.force_login(people.users["operator"])
    assert client.post(BEGIN).status_code == 403
    assert not live_keys().exists()


def test_name_of_a_team_is_text(client, people):
    Team.objects.create(name="<img src=x>&amp;")
    people.client(client, "operator")
    assert "<img" not in client.get(PAGE).content.decode()


@pytest.mark.parametrize(("role", "linked"), [("operator", True), ("lead", True), ("viewer", False)])
def test_console_leads_to_it(client, people, role, linked):
    people.client(client, role)
    for path in ("/admin/", "/usage/"):
        assert (f'href="{reverse("playground")}"' in client.get(path).content.decode()) == linked


def test_page_without_scripts_shows_the_curl(client, people):
    people.client(client, "operator")
    page = client.get(PAGE).content.decode()
    [part] = re.findall(r"<noscript>(.*?)</noscript>", page, re.DOTALL)
    assert "curl http://testserver/v1/chat/completions" in part
    assert "YOUR_API_KEY" in part
    assert re.search(r'<div id="play"[^>]* hidden', page)
