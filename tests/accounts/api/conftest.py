"""Users as an installation has them, and requests of their programs."""

import json

import pytest
from django.contrib.auth.models import Group, User
from django.test import Client

from accounts.api.tokens import issue
from accounts.models import ApiKey, Team


class Program:
    """Sends JSON with a token, and reads the JSON that comes back."""

    def __init__(self, token="", **client):
        self.client = Client(raise_request_exception=False, **client)
        self.headers = {"Authorization": f"Token {token}"} if token else {}

    def __call__(self, method, path, body=None, **headers):
        names = {name.replace("_", "-"): value for name, value in headers.items()}
        answer = self.client.generic(
            method, f"/api/{path}", "" if body is None else json.dumps(body), "application/json",
            headers=self.headers | names,
        )  # fmt: skip
        answer.data = json.loads(answer.content) if answer.content else None
        if answer.status_code >= 400:
            assert answer["Content-Type"] == "application/problem+json"
            assert answer.data["status"] == answer.status_code
            assert answer.data["title"]
        return answer


def program_of(user, expires_at=None, scopes=()):
    return Program(issue(user, expires_at, scopes))


@pytest.fixture
def root(db):
    return User.objects.create_superuser("root")


@pytest.fixture
def api(root):
    """A superuser's program."""
    return program_of(root)


@pytest.fixture
def teams(db):
    return {name: Team.objects.create(name=name) for name in ("core", "web")}


@pytest.fixture
def keys(teams):
    """A key of each team, and one of none."""
    made = {}
    for name, team in ({"alone": None} | teams).items():
        key = ApiKey(name=f"key of {name}", team=team)
        key.renew_secret(b"pepper")
        key.save()
        made[name] = key
    return made


@pytest.fixture
def lead(teams):
    user = User.objects.create_user("lead", is_staff=True)
    user.groups.add(Group.objects.get(name="Team lead"))
    teams["core"].members.add(user)
    return program_of(user)


@pytest.fixture
def viewer(db):
    user = User.objects.create_user("viewer", is_staff=True)
    user.groups.add(Group.objects.get(name="Viewer"))
    return program_of(user)


@pytest.fixture
def member(teams):
    """Not staff: may see the usage of the team and nothing else."""
    user = User.objects.create_user("member")
    teams["core"].members.add(user)
    return program_of(user)
