"""Exports of the usage pages, read by a program with a token."""

import json

import pytest
from asgiref.sync import async_to_sync
from django.contrib.auth.models import User

from accounts.api.tokens import issue

pytestmark = pytest.mark.django_db
FILES = ("/usage/export.csv", "/usage/export.json", "/usage/showback/export.csv", "/usage/showback/export.json")


async def whole(answer):
    return b"".join([part async for part in answer])


@pytest.mark.parametrize("path", FILES)
def test_token_opens_what_its_user_may_see(client, keys, lead, viewer, path):
    for name, status in (("lead", 200), ("viewer", 200), ("stranger", 403)):
        user, _ = User.objects.get_or_create(username=name)
        answer = client.get(path, headers={"Authorization": f"Token {issue(user, None, ())}"})
        assert answer.status_code == status
        if status == 200 and path.endswith("json"):
            json.loads(async_to_sync(whole)(answer) if answer.streaming else answer.content)


@pytest.mark.parametrize(
    ("header", "status", "code"),
    [
        ("Token lgw_api_nothing", 401, "authentication_failed"), ("Bearer lgw_demo", 401, "not_authenticated"),
        ("Token {keys}", 403, "scope"),
    ],
)  # fmt: skip
def test_wrong_token_is_a_problem(client, root, header, status, code):
    header = header.format(keys=issue(root, None, ("keys",)))
    answer = client.get(FILES[0], headers={"Authorization": header})
    assert (answer.status_code, answer.json()["code"]) == (status, code)
    assert answer["Content-Type"] == "application/problem+json"
    assert ("WWW-Authenticate" in answer) == (status == 401)
    assert status == 401 or "it takes usage, and they are keys" in answer.json()["detail"]
    assert client.get(FILES[0]).status_code == 302


@pytest.mark.parametrize("path", FILES)
def test_refusal_of_a_file_is_a_problem(client, viewer, path):
    def ask(username, address, language="en"):
        user, _ = User.objects.get_or_create(username=username)
        token = issue(user, None, ())
        return client.get(address, headers={"Authorization": f"Token {token}", "Accept-Language": language})

    answer = ask("stranger", path)
    assert answer["Content-Type"] == "application/problem+json"
    assert (answer.status_code, answer.json()["detail"]) == (403, "You may not see usage")
    chinese = ask("stranger", path, "zh-hans").json()
    assert (chinese["code"], chinese["detail"].isascii()) == ("permission_denied", False)
    flawed = ask("viewer", f"{path}?from=yesterday-ish")
    assert (flawed.status_code, flawed["Content-Type"]) == (400, "application/problem+json")
    (words,) = flawed.json()["errors"]["from"]
    assert flawed.json()["detail"] == f"from: {words}"
    assert words
