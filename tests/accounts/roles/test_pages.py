"""Who gets which page: pages × roles × methods."""

import json
from datetime import timedelta

import pytest
from django.db import transaction
from django.urls import reverse
from django.utils import timezone
from django_celery_beat.models import PeriodicTask

from accounts.alerts.words import NEW_NETWORK
from accounts.models import Alert, AlertChannel, ApiKey
from accounts.roles.groups import TEAM_LEAD
from bridge.models import Login, MaintenanceWindow, ModelAlias, PromptTemplate, Version
from gateway_project.lib.secrets.secrets_at_rest import Secret
from tests.accounts.roles.people import user_of

pytestmark = pytest.mark.django_db

ROLES = ("superuser", "operator", "viewer", "lead", "stranger", "member", "staff", "anonymous")
"""The stranger is the lead of another team."""

# o: gets it or does it; n: may not; m: there is no such thing; i: what was sent does not fit; l: has to log in first.
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
GET   admin:bridge_login_changelist             o o o n n l n l
GET   admin:bridge_login_add                    o o n n n l n l
GET   admin:bridge_login_change:login           o o o n n l n l
POST  admin:bridge_login_change:login           o o n n n l n l
POST  admin:bridge_login_delete:login           o o n n n l n l
GET   /admin/bridge/login/spread/               o o n n n l n l
GET   admin:bridge_login_attempts:login         o o o n n l n l
GET   admin:bridge_version_changelist           o o o n n l n l
GET   admin:bridge_version_upload               o n n n n l n l
POST  admin:bridge_version_change:version       o o n n n l n l
GET   /admin/bridge/version/back/               o o n n n l n l
GET   admin:bridge_maintenancewindow_changelist o o o n n l n l
GET   admin:bridge_maintenancewindow_add        o o n n n l n l
POST  admin:bridge_maintenancewindow_change:window o o n n n l n l
POST  admin:bridge_maintenancewindow_delete:window o o n n n l n l
GET   admin:accounts_alert_changelist           o o o o o l n l
GET   admin:accounts_alertchannel_changelist    o o o n n l n l
GET   admin:accounts_alertchannel_add           o o n n n l n l
POST  admin:accounts_alertchannel_change:channel o o n n n l n l
POST  admin:accounts_alertchannel_delete:channel o o n n n l n l
GET   admin:accounts_apitoken_changelist        o o o n n l n l
GET   usage_rows                                o o o o o o n l
GET   showback                                  o o o o o o n l
GET   /usage/showback/export.csv                o o o o o o n l
POST  /api/aliases/                             o o n n n n n l
PATCH /api/aliases/:alias                       o o n n n n n l
DELETE /api/aliases/:alias                      o o n n n n n l
GET   /api/prompts/                             o o o n n n n l
POST  /api/prompts/                             o o n n n n n l
PATCH /api/prompts/:prompt                      o o n n n n n l
DELETE /api/prompts/:prompt                     o o n n n n n l
GET   /api/instances/                           o o o n n n n l
POST  /api/instances/all/actions/               o o n n n n n l
GET   /api/logins/                              o o o n n n n l
POST  /api/logins/                              o o n n n n n l
PATCH /api/logins/:login                        o o n n n n n l
DELETE /api/logins/:login                       o o n n n n n l
POST  /api/logins/:login/cancel/                i i n n n n n l
POST  /api/logins/:login/relogin/               o o n n n n n l
GET   /api/logins/:login/attempts/              o o o n n n n l
GET   /api/versions/                            o o o n n n n l
POST  /api/versions/                            i n n n n n n l
POST  /api/versions/:version/default/           o o n n n n n l
DELETE /api/versions/:version/default/          o o n n n n n l
DELETE /api/versions/:version                   o n n n n n n l
GET   /api/alert-channels/                      o o o n n n n l
POST  /api/alert-channels/                      o o n n n n n l
PATCH /api/alert-channels/:channel              o o n n n n n l
DELETE /api/alert-channels/:channel             o o n n n n n l
POST  /api/alert-channels/:channel/test/        o o n n n n n l
GET   /api/alerts/                              o o o o o n n l
POST  /api/alerts/:alert/acknowledge/           o o n o m n n l
GET   /api/maintenance-windows/                 o o o n n n n l
POST  /api/maintenance-windows/                 o o n n n n n l
PATCH /api/maintenance-windows/:window          o o n n n n n l
DELETE /api/maintenance-windows/:window         o o n n n n n l
"""
LINES = [line.split() for line in TABLE.strip().splitlines()]


@pytest.fixture
def people(people):
    people.users["stranger"] = user_of("stranger", TEAM_LEAD, teams=[people.b])
    return people


@pytest.fixture
def objects(people):
    """What the pages are about, by the names it has in the table."""
    now, secret = timezone.now(), Secret.of(b"http://127.0.0.1:9")
    span = {"starts_at": now, "ends_at": now + timedelta(hours=1)}
    return {
        "key": people.key_a, "team": people.a, "user": people.users["staff"], "task": PeriodicTask.objects.first(),
        "alias": ModelAlias.objects.create(pattern="x"), "prompt": PromptTemplate.objects.create(pattern="x"),
        "login": Login.objects.create(label="main"), "version": Version.objects.create(version="2.11.1"),
        "window": MaintenanceWindow.objects.create(name="nightly", **span),
        "channel": AlertChannel.objects.create(name="ops", address=secret),
        "alert": Alert.objects.create(kind=NEW_NETWORK, key=people.key_a),
    }  # fmt: skip


MADE = {
    "/api/keys/": {"name": "made", "team": "team-a"},
    "/api/aliases/": {"pattern": "made", "lingma_model": "org_auto"},
    "/api/prompts/": {"pattern": "made"},
    "/api/logins/": {"label": "made"},
    "/api/instances/all/actions/": {"action": "drain"},
    "/api/alert-channels/": {"name": "made", "address": "http://127.0.0.1:9"},
    "/api/maintenance-windows/": {
        "name": "made", "starts_at": "2100-12-01T00:00:00Z", "ends_at": "2100-12-01T01:00:00Z",
    },
}  # fmt: skip
CHANGED = {"aliases": {"pattern": "other"}, "prompts": {"pattern": "other"}, "logins": {"label": "renamed"}}


def address_of(page, objects):
    if page.startswith("/"):
        address, _, rest = page.partition(":")
        name, _, end = rest.partition("/")
        return f"{address}{objects[name].pk}/{end}" if rest else address
    name, _, about = page.partition(":")[2].partition(":") if page.startswith("admin:") else (page, "", "")
    prefix = "admin:" if page.startswith("admin:") else ""
    return reverse(prefix + name, args=[objects[about].pk] if about else [])


def outcome_of(response):
    where = response.headers.get("Location", "")
    if response.status_code == 401 or where.startswith(("/login/", "/admin/login/")):
        return "l"
    if response.status_code == 404 or where == reverse("admin:index"):
        return "m"
    status = response.status_code
    words = {200: "o", 201: "o", 202: "o", 204: "o", 302: "o", 400: "i", 409: "i", 415: "i", 403: "n"}
    return words.get(status, str(status))


def send(client, method, address):
    if address.startswith("/api/"):
        renamed = CHANGED.get(address.split("/")[2], {"name": "renamed"})
        body = renamed if method == "PATCH" else MADE.get(address, {})
        return client.generic(method, address, json.dumps(body), content_type="application/json")
    if method == "GET":
        return client.get(address)
    return client.post(address, {"post": "yes"})


@pytest.mark.parametrize("role", ROLES)
def test_pages_are_for_their_roles(client, people, objects, role):
    people.client(client, role)
    wrong = []
    for method, page, *row in LINES:
        with transaction.atomic():
            if "team_delete" in page:  # one with keys stays
                ApiKey.objects.filter(team=people.a).update(team=None)
            outcome = outcome_of(send(client, method, address_of(page, objects)))
            transaction.set_rollback(True)
        if outcome != row[ROLES.index(role)]:
            wrong.append((method, page, outcome))
    assert wrong == []
