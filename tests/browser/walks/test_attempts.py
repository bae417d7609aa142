"""An attempt to log in at Lingma, followed on its page while somebody logs in on the simulator's."""

import pytest

from tests.e2e.installation import django, until

LOGIN = """
from bridge.models import Login
print(Login.objects.create(label="followed", kind="browser").pk)
"""
FORGET = """
from bridge.models import Login
for login in Login.objects.filter(label="followed"):
    login.delete()
"""
FOLLOWED = "[data-follow]"


@pytest.fixture
def page(log_in, whole):
    """Of the attempts of a login that has never been made."""
    login = django(whole.directory, LOGIN).strip()
    page = log_in("olga")
    page.goto(f"/admin/bridge/login/{login}/attempts/")
    yield page
    django(whole.directory, FORGET)


@pytest.fixture
def held(whole):
    """The login worker stands still until it is resumed: the page is loaded before the first step."""
    worker = whole.descendant("gateway_project.login_worker")
    worker.suspend()
    yield worker
    worker.resume()


def test_steps_are_seen_without_a_reload(page, held):
    page.click("button[name=way][value=browser]")
    page.wait_for_selector("[data-state=waiting]")
    assert "waits for the login worker" in page.inner_text(FOLLOWED)
    page.evaluate("window.loadedOnce = true")
    held.resume()
    link = page.locator(f"{FOLLOWED} a[target=_blank]")
    link.wait_for(timeout=60_000)
    assert "needs a person" in page.inner_text(FOLLOWED)
    assert page.locator("#pasted").is_visible()
    assert page.evaluate("window.loadedOnce")
    link.focus()
    took = page.locator(f"{FOLLOWED} [aria-live=off]")
    before = took.inner_text()
    until(lambda: took.inner_text() != before)
    assert link.evaluate("each => each === document.activeElement")
    person = page.context.new_page()
    person.goto(link.get_attribute("href"))
    person.click("#login")
    page.wait_for_selector(".gw-attempts td:has-text('Logged in')", timeout=60_000)
    assert "No attempt runs now." in page.inner_text(FOLLOWED)
    page.set_viewport_size({"width": 390, "height": 844})
    for cell in page.locator(".gw-attempts tbody tr").first.locator("td").all():
        box = cell.bounding_box()
        assert box["x"] + box["width"] <= 390
