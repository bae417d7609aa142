"""The API against its own document: generated requests, right and wrong ones, get the answers it describes."""

from datetime import timedelta

import pytest
from django.contrib.auth.models import User
from django.core.management import call_command
from django.core.signals import request_finished, request_started
from django.core.wsgi import get_wsgi_application
from django.db import close_old_connections
from django.utils import timezone
from hypothesis import HealthCheck, given, settings

from accounts.alerts.raising import raise_alert
from accounts.api.tokens import issue
from accounts.ledger import hours
from accounts.models import AlertChannel, ApiKey, AuditEntry, Team, Usage
from bridge.models import Login, MaintenanceWindow, ModelAlias, PromptTemplate, Version
from gateway_project.lib.secrets.secrets_at_rest import Secret
from tests.accounts.api.conftest import Program

HOUR = timedelta(hours=1)
pytestmark = [pytest.mark.django_db, pytest.mark.usefixtures("redis_server")]
RESOURCES = [
    "teams",
    "keys",
    "usage",
    "sessions",
    "instances",
    "logins",
    "versions",
    "maintenance-windows",
    "aliases",
    "prompts",
    "audit",
    "alerts",
    "alert-channels",
    "schema",
]


@pytest.fixture(scope="module")
def token(shared_rows):
    return issue(User.objects.create_superuser("root"), None, ())


@pytest.fixture(scope="module")
def document(token):
    import schemathesis  # a second, which no other worker of the run has to spend

    schema = schemathesis.openapi.from_dict(Program(token)("GET", "schema/").data)
    schema.app = get_wsgi_application()
    # The end of a request would close the connection of the test; Django's own client keeps it in the same way.
    signals = (request_started, request_finished)
    for signal in signals:
        signal.disconnect(close_old_connections)
    yield schema
    for signal in signals:
        signal.connect(close_old_connections)


def hold(operation, token, examples, **checks):
    """Requests as the document describes them, and others, get such answers."""

    @settings(max_examples=examples, deadline=None, suppress_health_check=list(HealthCheck), database=None)
    @given(case=operation.as_strategy())
    def holds(case):
        case.call_and_validate(headers={"Authorization": f"Token {token}"}, **checks)

    holds()


@pytest.mark.parametrize("resource", RESOURCES)
def test_answers_are_those_of_the_document(document, token, resource):
    from schemathesis.checks import positive_data_acceptance
    from schemathesis.specs.openapi.checks import ignored_auth

    found = [each.ok() for each in document.get_all_operations()]
    operations = [each for each in found if each.path.startswith(f"/api/{resource}/")]
    assert operations
    for operation in operations:
        # A name that is taken is refused, though the document has no words for it. To see that a token is needed, the
        # library asks twice more, and what else is sent makes no difference to that.
        # Few: the document of documents is large, and a row of a generated id is never there.
        examples = 2 if resource == "schema" else 3 if operation.path_parameters else 10
        hold(operation, token, examples, excluded_checks=[positive_data_acceptance, ignored_auth])
        hold(operation, token, 1, checks=[ignored_auth])


@pytest.fixture
def rows(keys, teams):
    """Of each resource the path parameters of a row."""
    now = timezone.now()
    ApiKey.objects.update(expires_at=now, paused_at=now, last_used_at=now, previous_until=now, allowed_models="a, !b")
    Usage.objects.create(
        request_id="r1", api_key=keys["core"], team=teams["core"], protocol="openai", endpoint="/v1/x", model="m",
        stream=False, status="refused", reason="rpm", queue_ms=0, total_ms=1, prompt_tokens=1, completion_tokens=1,
        started_at=now, allowed=1, value=2, retry_after=3,
    )  # fmt: skip
    entry = AuditEntry.objects.create(
        actor="a", source="rest", action="changed", object_type="key", changes={"a": ["1", "2"]}
    )
    channel = AlertChannel.objects.create(name="ops", address=Secret.of(b"http://127.0.0.1:9"))
    window = MaintenanceWindow.objects.create(name="nightly", weekly=True, starts_at=now, ends_at=now + HOUR)
    alert = raise_alert("new_network", ["10.0.0.0/24"], now, key=keys["core"])
    return {
        "alerts": {"id": alert.pk}, "alert-channels": {"id": channel.pk},
        "teams": {"id": teams["core"].pk}, "keys": {"id": keys["core"].pk}, "usage": {"request_id": "r1"},
        "aliases": {"id": ModelAlias.objects.create(pattern="of-the-document").pk}, "audit": {"id": entry.pk},
        "versions": {"id": Version.objects.create(version="2.11.1", archive_sha256="0" * 64).pk},
        "logins": {"id": Login.objects.create(label="main").pk},
        "maintenance-windows": {"id": window.pk},
        "prompts": {"id": PromptTemplate.objects.create(pattern="x").pk},
    }  # fmt: skip


@pytest.mark.parametrize(
    "resource",
    [
        "teams",
        "keys",
        "usage",
        "versions",
        "maintenance-windows",
        "aliases",
        "prompts",
        "audit",
        "alerts",
        "alert-channels",
    ],
)
def test_row_and_list_are_those_of_the_document(document, token, rows, resource):
    (name,) = rows[resource]
    for path, parameters in ((f"/api/{resource}/", {}), (f"/api/{resource}/{{{name}}}/", rows[resource])):
        case = document[path]["GET"].Case(path_parameters=parameters)
        answer = case.call_and_validate(headers={"Authorization": f"Token {token}"})
        assert answer.status_code == 200


@pytest.mark.parametrize(
    ("action", "body"), [("rotate", {"grace": "1h"}), ("pause", {}), ("quarantine", {}), ("revoke", None)]
)
def test_action_answers_as_the_document_says(document, token, keys, action, body):
    operation = document[f"/api/keys/{{id}}/{action}/"]["POST"]
    given_body = {} if body is None else {"body": body, "media_type": "application/json"}
    case = operation.Case(path_parameters={"id": keys["core"].pk}, **given_body)
    assert case.call_and_validate(headers={"Authorization": f"Token {token}"}).status_code == 200


@pytest.mark.parametrize("resource", ["teams", "keys"])
def test_limits_are_those_of_the_document(document, token, rows, resource):
    ApiKey.objects.update(rpm=1, concurrency=2, shadow="rpm")
    Team.objects.update(tokens_day=5, concurrency=2, shadow="tokens_day")
    case = document[f"/api/{resource}/{{id}}/limits/"]["GET"].Case(path_parameters=rows[resource])
    answer = case.call_and_validate(headers={"Authorization": f"Token {token}"})
    assert (answer.status_code, len(answer.json()["limits"])) == (200, {"teams": 2, "keys": 4}[resource])


@pytest.mark.parametrize("group_by", ["team,key,day", "hour,status", "client_app"])
def test_summary_is_that_of_the_document(document, token, rows, group_by):
    hours.rebuild(timezone.now() - timedelta(hours=1), timezone.now())
    case = document["/api/usage/summary/"]["GET"].Case(query={"group_by": group_by})
    answer = case.call_and_validate(headers={"Authorization": f"Token {token}"})
    assert (answer.status_code, len(answer.json()["results"])) == (200, 1)


def test_document_is_made_without_warnings(tmp_path):
    call_command("spectacular", "--fail-on-warn", "--validate", "--file", str(tmp_path / "document.yaml"))
    assert (tmp_path / "document.yaml").read_text().startswith("openapi: 3.1.0")
