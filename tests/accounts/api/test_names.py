"""Names of fields in bodies: what no field has is refused, wherever something is written."""

import pytest

from accounts.models import ApiKey
from tests.accounts.api.test_resources import ROWS

pytestmark = [pytest.mark.django_db, pytest.mark.usefixtures("redis_server")]
BODIES = {resource: body for resource, (_, body, _) in ROWS.items()} | {"keys": {"name": "new", "team": "core"}}


@pytest.fixture
def made(api, teams):
    """The answer to the creation of a row of each resource."""
    return {resource: api("POST", f"{resource}/", body).data for resource, body in BODIES.items()}


def operations_with_a_body(api):
    for path, operations in api("GET", "schema/").data["paths"].items():
        for method, operation in operations.items():
            if "application/json" in operation.get("requestBody", {}).get("content", {}):
                yield method.upper(), path.removeprefix("/api/")


def test_unknown_names_are_refused_everywhere(api, made):
    ids = {resource: row["id"] for resource, row in made.items()}
    asked = [*operations_with_a_body(api)]
    for method, path in asked:
        answer = api(method, path.format(id=ids.get(path.partition("/")[0]), name="all"), {"rmp": 5})
        assert (answer.status_code, list(answer.data["errors"])) == (400, ["rmp"]), (method, path)
        (words,) = answer.data["errors"]["rmp"]
        assert words.startswith("There is no such field. Known: ")
    assert {("PATCH", "logins/refresh/"), ("POST", "instances/{name}/actions/"), ("POST", "keys/")} <= {*asked}


@pytest.mark.parametrize(
    "body", [{"expires": "30d"}, {"models": ["gpt-*"], "networks": ["10.0.0.0/8"], "rmp": 5}, {"": 1}, {"secret_": 1}]
)
def test_slip_makes_and_changes_no_key(api, made, body):
    before = ApiKey.objects.values().get()
    for answer in (
        api("POST", "keys/", {"name": "other", "team": "core"} | body),
        api("PATCH", f"keys/{made['keys']['id']}/", {"rpm": 3} | body),
    ):
        assert (answer.status_code, set(answer.data["errors"])) == (400, {name or "body" for name in body})
        (words, *_) = answer.data["errors"].popitem()[1]
        assert {"rpm", "expires_at", "allowed_models"} <= {*words.partition("Known: ")[2].rstrip(".").split(", ")}
        assert "created_at" not in words
    assert ApiKey.objects.values().get() == before


@pytest.mark.parametrize("resource", BODIES)
def test_row_that_was_read_can_be_sent_back(api, made, resource):
    path = f"{resource}/{made[resource]['id']}/"
    listed = next(row for row in api("GET", f"{resource}/").data["results"] if row["id"] == made[resource]["id"])
    for body in (made[resource], api("GET", path).data, listed):
        assert api("PATCH", path, body).status_code == 200


def test_times_of_refresh_can_be_sent_back(api):
    assert api("PATCH", "logins/refresh/", api("GET", "logins/refresh/").data).status_code == 200


def test_many_unknown_names_are_told_shortly(api):
    answer = api("POST", "keys/", {"name": "new"} | {f"{number}{'x' * 1_000}": 1 for number in range(2_000)})
    assert (answer.status_code, len(answer.data["errors"])) == (400, 10)
    assert len(answer.content) < 20_000
