"""Log in, filter, open, rotate and revoke, without a mouse: Tab, Enter, and what one types."""

import re

import pytest

from tests.browser.test_console import press_until
from tests.browser.walks.steps import SECRET, shows
from tests.e2e.formats import OPENAI, send
from tests.e2e.installation import PASSWORD, django, until

MADE = """
from accounts.keys import services
from accounts.models import ApiKey
key = ApiKey(name="by-keyboard")
print(services.create(key), key.pk)
"""


@pytest.fixture
def secret_and_id(whole):
    return django(whole.directory, MADE).split()


def choose(page, selector, most=80):
    """Go on with Tab until there, and press Enter."""
    press_until(page, "Tab", selector, most)
    page.keyboard.press("Enter")


def log_in_by_keyboard(page):
    page.goto("/login/?next=/usage/")
    for name, text in (("username", "olga"), ("password", PASSWORD)):
        if not page.evaluate(f"document.activeElement.name === {name!r}"):
            press_until(page, "Tab", f"input[name={name}]")
        page.keyboard.type(text)
    page.keyboard.press("Enter")
    page.wait_for_url(re.compile("^[^?]*/usage/$"))


def test_console_needs_no_mouse(log_in, whole, secret_and_id):
    secret, key_id = secret_and_id
    asked = send(whole, "POST", OPENAI.path, key=secret, body=OPENAI.body("[[sim: text=hello]] x"))
    assert asked.status == 200
    page = log_in()
    log_in_by_keyboard(page)
    shows(page, f"/usage/r/{asked.headers['x-request-id']}", "Answered in full")
    page.goto("/usage/")
    press_until(page, "Tab", "input[name=key], select[name=key]")
    page.keyboard.type("by-keyboard")
    page.keyboard.press("Enter")
    page.wait_for_url(re.compile("key=by-keyboard"))
    assert page.inner_text(".figure .value") == "1"
    choose(page, f"a[href$='/usage/r/{asked.headers['x-request-id']}']", 200)
    page.wait_for_url(re.compile("/usage/r/"))
    page.goto(f"/admin/accounts/apikey/{key_id}/change/")
    choose(page, ".gw-to-main", 3)
    assert page.evaluate("document.activeElement.id") == "content-main"
    page.reload()
    choose(page, f"a[href$='/{key_id}/rotate/']")
    page.wait_for_url(re.compile("/rotate/$"))
    choose(page, "#content button[type=submit], #content form button")
    fresh = SECRET.search(page.locator("#secret").inner_text())[0]
    assert until(lambda: send(whole, "GET", "/v1/models", key=fresh).status == 200)
    page.goto(f"/admin/accounts/apikey/{key_id}/change/")
    choose(page, f"a[href$='/{key_id}/revoke/']")
    page.wait_for_url(re.compile("/revoke/$"))
    choose(page, "#content form button")
    assert until(lambda: send(whole, "GET", "/v1/models", key=fresh).status == 401)
