"""Who gets which page: pages × roles × methods."""

import json

import pytest
from django.db import transaction
from django.urls import reverse
from django_celery_beat.models import PeriodicTask

from accounts.models import ApiKey
from accounts.roles.groups import TEAM_LEAD
from bridge.models import ModelAlias
from tests.accounts.roles.people import user_of

pytestmark = pytest.mark.django_db

ROLES = ("superuser", "operator", "viewer", "lead", "stranger", "member", "staff", "anonymous")
"""The stranger is the lead of another team."""

# o: gets it or does it; n: may not; m: there is no such thing; i: what was sent is invalid; l: has to log in first.
TABLE = """
GET   admin:index                               o o o o o l o l
GET   admin:accounts_apikey_changelist          o o o o o l n l
GET   admin:accounts_apikey_add                 o o n o o l n l
GET   admin:accounts_apikey_change:key          o o o o m l n l
GET   admin:accounts_apikey_history:key         o o o o m l m l
POST  admin:accounts_apikey_change:key          o o n o m l n l
POST  admin:accounts_apikey_delete:key          n n n n n l n l
GET   admin:accounts_team_changelist            o o o o o l n l
GET   admin:accounts_team_add                   o o n n n l n l
GET   admin:accounts_team_change:team           o o o o m l n l
POST  admin:accounts_team_change:team           o o n n n l n l
POST  admin:accounts_team_delete:team           o o n n n l n l
GET   admin:accounts_usage_changelist           o o o n n l n l
GET   admin:accounts_auditentry_changelist      o o o n n l n l
GET   admin:accounts_auditentry_export          o o o n n l n l
GET   admin:auth_user_changelist                o n n n n l n l
GET   admin:auth_user_add                       o n n n n l n l
POST  admin:auth_user_change:user               o n n n n l n l
POST  admin:auth_user_delete:user               o n n n n l n l
GET   admin:auth_group_changelist               o n n n n l n l
GET   admin:bridge_instance_changelist          o o o n n l n l
GET   admin:doctor                              o o o n n l n l
GET   admin:live                                o o o n n l n l
GET   /admin/live/log/w1-i1/                    o o n n n l n l
GET   /admin/live/log/w1-i1/now/                o o n n n l n l
GET   admin:bridge_modelalias_changelist        o o o n n l n l
POST  admin:bridge_modelalias_change:alias      o o n n n l n l
GET   admin:bridge_prompttemplate_changelist    o o o n n l n l
GET   admin:sessions_store_entry_changelist     o o o n n l n l
GET   admin:django_celery_beat_periodictask_changelist  o o o n n l n l
POST  admin:django_celery_beat_periodictask_delete:task o o n n n l n l
GET   usage                                     o o o o o o n l
GET   playground                                o o n o o n n l
POST  /playground/key/                          o o n i i n n l
POST  /playground/key/end/                      o o n o o n n l
GET   /usage/export.csv                         o o o o o o n l
GET   /api/keys/                                o o o o o n n l
GET   /api/keys/:key                            o o o o m n n l
PATCH /api/keys/:key                            o o n o m n n l
POST  /api/keys/:key/rotate/                    o o n o m n n l
POST  /api/keys/:key/pause/                     o o n o m n n l
POST  /api/keys/                                o o n o i n n l
GET   /api/teams/:team                          o o o o m n n l
PATCH /api/teams/:team                          o o n n n n n l
GET   /api/usage/                               o o o o o o n l
GET   /api/audit/                               o o o n n n n l
GET   /api/aliases/                             o o o n n n n l
GET   /api/sessions/                            o o o n n n n l
"""
LINES = [line.split() for line in TABLE.strip().splitlines()]


@pytest.fixture
def people(people):
    people.users["stranger"] = user_of("stranger", TEAM_LEAD, teams=[people.b])
    return people


def address_of(page, people):
    objects = {
        "key": people.key_a, "team": people.a, "user": people.users["staff"],
        "alias": ModelAlias.objects.first() or ModelAlias.objects.create(pattern="x"),
        "task": PeriodicTask.objects.first(),
    }  # fmt: skip
    if page.startswith("/"):
        address, _, rest = page.partition(":")
        name, _, end = rest.partition("/")
        return f"{address}{objects[name].pk}/{end}" if rest else address
    name, _, about = page.partition(":")[2].partition(":") if page.startswith("admin:") else (page, "", "")
    prefix = "admin:" if page.startswith("admin:") else ""
    return reverse(prefix + name, args=[objects[about].pk] if about else [])


def outcome_of(response):
    where = response.headers.get("Location", "")
    if response.status_code == 401 or "/login/" in where:
        return "l"
    if response.status_code == 404 or where == reverse("admin:index"):
        return "m"
    return {400: "i", 403: "n", 200: "o", 201: "o", 302: "o"}.get(response.status_code, str(response.status_code))


def send(client, method, address):
    if address.startswith("/api/"):
        body = {"name": "made", "team": "team-a"} if address == "/api/keys/" else {"name": "renamed"}
        body = body if method == "PATCH" or address == "/api/keys/" else {}
        return client.generic(method, address, json.dumps(body), content_type="application/json")
    if method == "GET":
        return client.get(address)
    return client.post(address, {"post": "yes"})


@pytest.mark.parametrize("role", ROLES)
def test_pages_are_for_their_roles(client, people, role):
    people.client(client, role)
    wrong = []
    for method, page, *row in LINES:
        with transaction.atomic():
            if "team_delete" in page:  # one with keys stays
                ApiKey.objects.filter(team=people.a).update(team=None)
            outcome = outcome_of(send(client, method, address_of(page, people)))
            transaction.set_rollback(True)
        if outcome != row[ROLES.index(role)]:
            wrong.append((method, page, outcome))
    assert wrong == []
