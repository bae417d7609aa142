"""What axe finds on every page, light and dark, wide and narrow: nothing serious but what is listed, and why."""

import json
import re
from importlib.resources import files

import pytest

from tests.accounts.login.people import code_of
from tests.browser.walks.places import CONSOLE, OURS
from tests.browser.walks.steps import shows
from tests.e2e.formats import OPENAI, send
from tests.e2e.installation import KEY, OTHER_KEY, PASSWORD, django

AXE = (files("axe_playwright_python") / "axe.min.js").read_text()
RUN = """
async rules => {
  const found = await axe.run(document, {resultTypes: ['violations'], runOnly: rules})
  return found.violations.filter(each => ['serious', 'critical'].includes(each.impact))
    .map(each => [each.id, each.nodes.map(node => node.target.join(' ')).slice(0, 5)])
}
"""
LEVELS = {"type": "tag", "values": ["wcag2a", "wcag2aa", "wcag21a", "wcag21aa", "wcag22aa"]}
COLOURS = {"type": "rule", "values": ["color-contrast", "link-in-text-block"]}
SIZES = {"type": "rule", "values": ["target-size", "scrollable-region-focusable"]}
LOOKS = (("light", 1440, LEVELS), ("dark", 1440, COLOURS), ("dark", 390, SIZES))
"""What else is looked for depends neither on the colours nor on the width."""

BARS = "A bar a minute or a day is narrow on a phone; the table below the bars has the same links."
LEFT = {("/admin/", "target-size"): BARS, ("/admin/accounts/apikey/{key_id}/change/", "target-size"): BARS}
"""By page and rule: why it stays."""

WITH_CODES = ("/account/", "/account/recovery/", "/account/recovery/new/", "/account/app/remove/")

PEOPLE = """
import json
from allauth.mfa.recovery_codes.internal.auth import RecoveryCodes
from allauth.mfa.totp.internal.auth import TOTP, generate_totp_secret
from django.contrib.auth.models import User
from accounts.keys import services
from accounts.models import ApiKey
mona, codes = User.objects.create_user("mona", password={password!r}), generate_totp_secret()
TOTP.activate(mona, codes)
RecoveryCodes.activate(mona)
keys = {{name: ApiKey(name=name, rpm=2, tokens_day=9, shadow="tokens_day") for name in ("limited", "gone")}}
secrets = {{name: services.create(key) for name, key in keys.items()}}
services.revoke(keys["gone"])
print(json.dumps(secrets | {{"codes": codes}}))
"""


@pytest.fixture(scope="module")
def page(browser, whole):
    """A page of the superuser; its policy lets axe in, and is looked at elsewhere."""
    context = browser.new_context(base_url=f"http://127.0.0.1:{whole.port}", bypass_csp=True)
    page = context.new_page()
    page.goto("/login/?next=/usage/")
    page.fill("input[name=username]", "admin")
    page.fill("input[name=password]", PASSWORD)
    page.press("input[name=password]", "Enter")
    page.wait_for_url(re.compile("^[^?]*/usage/$"))
    for key in (KEY, OTHER_KEY):
        answer = send(whole, "POST", OPENAI.path, key=key, body=OPENAI.body("[[sim: text=hello]] x"))
        assert shows(page, f"/usage/r/{answer.headers['x-request-id']}", "Answered in full")
    yield page
    context.close()


@pytest.fixture(scope="module")
def people(whole):
    return json.loads(django(whole.directory, PEOPLE.format(password=PASSWORD)))


@pytest.fixture
def stranger(browser, whole):
    context = browser.new_context(base_url=f"http://127.0.0.1:{whole.port}", bypass_csp=True)
    yield context.new_page()
    context.close()


def findings(page, address=""):
    """{rule: where} of all looks at a page, which is loaded once; without an address at the page that is there."""
    page.emulate_media(color_scheme="light")
    page.set_viewport_size({"width": 1440, "height": 900})
    if address:
        page.goto(address)
    page.evaluate(AXE)
    found = {}
    for scheme, width, rules in LOOKS:
        page.emulate_media(color_scheme=scheme)
        page.set_viewport_size({"width": width, "height": 900})
        page.wait_for_function("() => document.getAnimations().every(each => each.playState !== 'running')")
        for rule, places in page.evaluate(RUN, rules):
            found.setdefault(rule, []).append((scheme, width, places))
    return found


@pytest.mark.parametrize("address", [*OURS, *(f"/admin/{each}" for each in CONSOLE)])
def test_page_has_no_serious_findings(page, ids, address):
    found = findings(page, address.format(**ids))
    assert {rule: found[rule] for rule in found if (address, rule) not in LEFT} == {}
    # What was mended leaves the list.
    assert {rule for at, rule in LEFT if at == address} <= found.keys()


def log_in(page, name, password):
    page.goto("/login/")
    page.fill("input[name=username]", name)
    page.fill("input[name=password]", password)
    with page.expect_navigation():
        page.press("input[name=password]", "Enter")


def test_log_in_has_nothing_serious(stranger, people):
    assert findings(stranger, "/login/") == {}
    log_in(stranger, "mona", "a wrong one")
    assert findings(stranger) == {}
    log_in(stranger, "mona", PASSWORD)
    stranger.wait_for_url("**/login/code/")
    assert findings(stranger) == {}
    stranger.fill("input[name=code]", code_of(people["codes"], 0))
    with stranger.expect_navigation():
        stranger.press("input[name=code]", "Enter")
    assert {page: found for page in WITH_CODES if (found := findings(stranger, page))} == {}


@pytest.mark.parametrize("key", ["limited", "gone", "lgw_mistyped"])
def test_page_of_key_holders_has_nothing_serious(stranger, whole, people, key):
    if key == "limited":
        # One is served, and two are refused for the page to tell of.
        for _ in range(3):
            send(whole, "POST", OPENAI.path, key=people[key], body=OPENAI.body("[[sim: text=hello]] x"))
    stranger.goto("/me/")
    stranger.fill("input[name=key]", people.get(key, key))
    with stranger.expect_navigation():
        stranger.press("input[name=key]", "Enter")
    assert ("limited" in stranger.inner_text("main")) == (key == "limited")
    assert findings(stranger) == {}


def test_invitation_has_nothing_serious(page, stranger):
    page.goto("/admin/auth/user/add/")
    page.fill("input[name=username]", "nina")
    with page.expect_navigation():
        page.click("button[name=_save]")
    link = page.inner_text("#invitation")
    assert findings(page) == {}
    assert findings(stranger, link) == {}
