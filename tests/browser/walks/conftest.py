"""People who have logged in."""

import re

import pytest

from tests.e2e.installation import PASSWORD, django

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
