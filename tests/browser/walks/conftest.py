"""People who have logged in."""

import json
import re

import pytest

from tests.browser.walks.places import IDS
from tests.e2e.formats import OPENAI, send
from tests.e2e.installation import KEY, OTHER_KEY, PASSWORD, django, until
from tests.e2e.whole import filed

PEOPLE = """
from django.contrib.auth.models import Group, User
from accounts.models import Team
for name, group in (("olga", "Operator"), ("leo", "Team lead")):
    user = User.objects.create_user(name, password={password!r}, is_staff=True)
    user.groups.set(Group.objects.filter(name=group))
for name in ("Own", "Other"):
    Team.objects.create(name=name, rpm=1000)
Team.objects.get(name="Own").members.add(User.objects.get(username="leo"))
"""


@pytest.fixture(scope="session")
def whole(whole):
    """With an operator, and the lead of one of two teams."""
    django(whole.directory, PEOPLE.format(password=PASSWORD))
    return whole


@pytest.fixture(scope="session")
def ids(whole):
    """What the addresses in `places` have to name, by the names they have there."""
    for key in (KEY, OTHER_KEY):
        answer = send(whole, "POST", OPENAI.path, key=key, body=OPENAI.body("[[sim: text=hello]] x"))
        until(lambda turn=answer.headers["x-request-id"]: filed(whole.directory, turn))
    return json.loads(django(whole.directory, IDS))


@pytest.fixture
def log_in(browser, whole):
    """`log_in(name)`: a page of somebody in a browser of their own; without a name of somebody unknown."""
    contexts = []

    def log_in(name="", **options):
        contexts.append(browser.new_context(base_url=f"http://127.0.0.1:{whole.port}", **options))
        page = contexts[-1].new_page()
        if name:
            page.goto("/login/?next=/usage/")
            page.fill("input[name=username]", name)
            page.fill("input[name=password]", PASSWORD)
            page.press("input[name=password]", "Enter")
            page.wait_for_url(re.compile("^[^?]*/usage/$"))
        return page

    yield log_in
    for context in contexts:
        context.close()
