"""What hand-made addresses show of a team to those who are not its members: every page, filter, export and id."""

from datetime import timedelta

import pytest
from asgiref.sync import async_to_sync
from django.contrib.auth.models import User
from django.urls import get_resolver, reverse
from django.utils import timezone

from accounts.keys import services
from accounts.ledger import totals
from accounts.models import ApiKey, AuditEntry, Team, Usage, UsageHour
from accounts.roles.groups import OPERATOR, TEAM_LEAD, VIEWER
from tests.accounts.reports.sample import hours_of
from tests.accounts.roles.people import user_of

pytestmark = pytest.mark.django_db

DIGITS = "0a" * 16
MARKS = {
    "team": "zz-team", "key": "zz-key", "model": "zz-model", "used": "zz-used", "address": "198.51.100.77",
    "user": "zz-user", "digits": DIGITS, "instance": "zz-instance",
}  # fmt: skip
"""What only the other team has. None of it may be shown, but for what the reader has typed."""
FILTERS = (
    "team={team}", "team={team_id}", "team={team_id}&team={own_id}", "key={key}", "key={key_id}", "model={model}",
    "lingma_model={used}", "instance={instance}", "endpoint=/v1/messages", "status=error", "reason=upstream",
    "session=new", "protocol=anthropic", "client_app=codex", "range=30d",
)  # fmt: skip
FEW = FILTERS[:3]
"""Enough for those who see all: that each filter finds something is seen on `FOUND`."""
FOUND = ("/usage/rows/?{query}", "/api/usage/?{query}")
SPELLINGS = ("req_{digits}", "{digits}", "chatcmpl-{digits}", "msg_{digits}", "resp_{digits}", "REQ_{upper}")
ROLES = ("operator", "viewer", "lead", "member", "staff", "anonymous")

# s: it shows something of the other team; o: an answer that shows nothing of it; n: may not; m: there is no such
# thing; l: has to log in first; -: is not asked.
TABLE = [
    *[
        (
            page.format(query=each),
            f"{'s' if each in FEW or page in FOUND else '-'} {'s' if each in FEW else '-'} o o n "
            f"{'n' if 'api' in page else 'l'}",
        )
        for page in (
            "/usage/?{query}",
            "/usage/rows/?{query}",
            "/usage/export.csv?{query}",
            "/usage/export.json?{query}",
            "/api/usage/?{query}",
            "/api/usage/summary/?{query}&group_by=team&group_by=key&group_by=model",
        )
        for each in FILTERS
    ],
    *[(f"/usage/r/{each}", "s s m m m l") for each in SPELLINGS],
    *[(f"/api/usage/{each}/", "s s m m n n") for each in SPELLINGS],
    ("/admin/accounts/apikey/", "s s o l n l"),
    ("/admin/accounts/apikey/?q={key}", "s s o l n l"),
    ("/admin/accounts/apikey/?q={team}", "s s o l n l"),
    ("/admin/accounts/apikey/?team__id__exact={team_id}", "s s o l n l"),
    ("/admin/accounts/apikey/{key_id}/change/", "s s m l n l"),
    ("/admin/accounts/apikey/{key_id}/history/", "s s m l m l"),
    ("/admin/accounts/apikey/{key_id}/rotate/", "s n n l n l"),
    ("/admin/accounts/apikey/{key_id}/revoke/", "s n n l n l"),
    ("/admin/accounts/team/", "s s o l n l"),
    ("/admin/accounts/team/{team_id}/change/", "s s m l n l"),
    ("/admin/accounts/team/{team_id}/history/", "s s m l m l"),
    ("/admin/accounts/usage/{row_id}/change/", "s s n l n l"),
    ("/admin/accounts/usage/?q=msg_{digits}", "s s n l n l"),
    ("/admin/accounts/auditentry/", "s s n l n l"),
    ("/admin/accounts/auditentry/{entry_id}/change/", "s s n l n l"),
    ("/admin/accounts/auditentry/export/", "s s n l n l"),
    ("/admin/autocomplete/?app_label=accounts&model_name=apikey&field_name=team&term=", "s s o l n l"),
    ("/admin/autocomplete/?app_label=accounts&model_name=usage&field_name=api_key&term=", "s s o l n l"),
    ("/api/keys/", "s s o n n n"),
    ("/api/keys/?team={team_id}", "s s o n n n"),
    ("/api/keys/?name={key}", "s s o n n n"),
    ("/api/keys/{key_id}/", "s s m n n n"),
    ("/api/keys/{key_id}/limits/", "o o m n n n"),
    ("/api/teams/", "s s o n n n"),
    ("/api/teams/{team_id}/", "s s m n n n"),
    ("/api/teams/{team_id}/limits/", "o o m n n n"),
    ("/api/audit/?object_id={key_id}", "s s n n n n"),
    ("/api/audit/{entry_id}/", "s s n n n n"),
]


class World:
    """A team with a lead and a member, and another one with a key that has been used; rows as they are filed."""

    def __init__(self):
        own, other = Team.objects.create(name="own"), Team.objects.create(name=MARKS["team"])
        other.members.add(user_of(MARKS["user"], TEAM_LEAD))
        key = ApiKey(name=MARKS["key"], team=other, allowed_models=MARKS["model"])
        services.create(key)
        services.create(ApiKey(name="own-key", team=own))
        used = self.used(key, timezone.now() - timedelta(minutes=5))
        entry = AuditEntry.objects.filter(object_text__contains=MARKS["key"]).first()
        self.users = {
            "operator": user_of("operator", OPERATOR), "viewer": user_of("viewer", VIEWER),
            "lead": user_of("lead", TEAM_LEAD, teams=[own]),
            "member": user_of("member", teams=[own], is_staff=False), "staff": user_of("staff"),
        }  # fmt: skip
        self.values = MARKS | {
            "team_id": other.pk, "own_id": own.pk, "key_id": key.pk, "row_id": used.pk, "upper": DIGITS.upper(),
            "entry_id": entry.pk,
        }  # fmt: skip

    @staticmethod
    def used(key, at):
        row = Usage.objects.create(
            request_id=f"req_{DIGITS}", api_key=key, team=key.team, protocol="anthropic", endpoint="/v1/messages",
            model=MARKS["model"], stream=True, lingma_model=MARKS["used"], instance=MARKS["instance"], status="error",
            reason="upstream", session="new", client=MARKS["address"], agent="codex", prompt_tokens=7,
            completion_tokens=9, usage_source="upstream", queue_ms=0, total_ms=5, started_at=at,
        )  # fmt: skip
        UsageHour.objects.bulk_create(hours_of([row]))
        totals.rebuild(at - timedelta(hours=1), timezone.now())
        return row

    def client(self, client, role):
        client.logout()
        if role in self.users:
            client.force_login(User.objects.get(pk=self.users[role].pk))
        return client


@pytest.fixture(scope="module")
def world(shared_rows):
    return World()


def body_of(response):
    if not response.streaming:
        return response.content.decode()
    if not response.is_async:
        return b"".join(response.streaming_content).decode()

    async def parts():
        return b"".join([part async for part in response.streaming_content]).decode()

    return async_to_sync(parts)()


def shown(response, typed):
    """The marks in an answer, without those that were typed."""
    body = body_of(response)
    return [name for name, mark in MARKS.items() if mark in body and mark not in typed.lower()]


def outcome_of(response, typed):
    where = response.headers.get("Location", "")
    if response.status_code == 401 or "/login/" in where:
        return "l" if "/api/" not in typed else "n"
    if response.status_code == 404 or where == reverse("admin:index"):
        return "m"
    if response.status_code != 200:
        return {403: "n"}.get(response.status_code, str(response.status_code))
    return "s" if shown(response, typed) else "o"


@pytest.mark.parametrize("role", ROLES)
def test_hand_made_addresses_show_own_teams(client, world, role):
    client = world.client(client, role)
    wrong = []
    for address, row in TABLE:
        typed, expected = address.format(**world.values), row.split()[ROLES.index(role)]
        if expected != "-" and (outcome := outcome_of(client.get(typed), typed)) != expected:
            wrong.append((typed, outcome))
    assert wrong == []


OBJECTS = {"apikey": "key_id", "team": "team_id", "usage": "row_id", "auditentry": "entry_id"}


def routes():
    """(name, address, names of its arguments) of everything that there is."""
    resolver = get_resolver()
    spaces = [("", resolver), *((prefix, nested) for prefix, nested in resolver.namespace_dict.values())]
    for prefix, each in spaces:
        for name in each.reverse_dict:
            if isinstance(name, str):
                for route, arguments in each.reverse_dict.getlist(name)[0][0]:
                    yield name, f"/{prefix}{route}", arguments


def every_address(values):
    """Filled in with the objects of the other team."""
    for name, route, arguments in routes():
        about = next((OBJECTS[part] for part in OBJECTS if part in name), "key_id")
        filled = dict.fromkeys(arguments, values[about]) | {"any_id": f"req_{DIGITS}"}
        yield route % {argument: filled[argument] for argument in arguments}


@pytest.mark.parametrize("role", ["lead", "member", "staff", "anonymous"])
def test_pages_never_show_another_team(client, world, role):
    """A page that is added tomorrow is looked at too."""
    client = world.client(client, role)
    found = {}
    addresses = sorted(set(every_address(world.values)) - {"/logout/", "/admin/logout/"})
    assert len(addresses) > 100
    for typed in addresses:
        if marks := shown(client.get(typed), typed):
            found[typed] = marks
    assert found == {}
