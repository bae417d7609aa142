"""Log-in in a real browser: a security key, an authenticator app, and pages that break no content policy."""

import re

import pytest

from tests.accounts.login.people import code_of
from tests.browser.policy import WATCH, assert_kept
from tests.e2e.formats import OPENAI, send
from tests.e2e.installation import KEY, PASSWORD, django

BESIDE = (
    "/login/", "/usage/", "/usage/rows/", "/api/docs/", "/nothing/here/", "/usage/r/req_0",
    "/admin/bridge/signinpage/1/change/", "/admin/bridge/loginrefresh/1/change/", "/admin/bridge/version/",
    "/admin/bridge/version/upload/",
    "/admin/bridge/version/back/", "/admin/auth/group/add/", "/admin/django_celery_beat/periodictask/add/",
    "/admin/nothing/",
)  # fmt: skip
"""The pages that are not in `walks/places`: those are looked at by the walks."""


PEOPLE = f"""
from django.contrib.auth.models import User
for name in ("keyed", "coded"):
    User.objects.create_superuser(name, password={PASSWORD!r})
"""


@pytest.fixture(scope="module")
def people(directory, whole):
    django(directory, PEOPLE)
    send(whole, "POST", OPENAI.path, key=KEY, body=OPENAI.body("[[sim: text=hello]] x"))


@pytest.fixture
def page(browser, whole, people):
    # By this name, as browsers have security keys for safe origins only.
    context = browser.new_context(base_url=f"http://localhost:{whole.port}")
    yield context.new_page()
    context.close()


def log_in(page, name, password=PASSWORD):
    page.goto("/login/")
    page.fill("input[name=username]", name)
    page.fill("input[name=password]", password)
    page.click("main button")


def log_out(page):
    page.goto("/account/")
    page.click("header form[action='/logout/'] button")
    page.wait_for_url(re.compile("/login/"))


def virtual_key(page):
    """A security key without a body, that is touched at once."""
    session = page.context.new_cdp_session(page)
    session.send("WebAuthn.enable")
    options = {
        "protocol": "ctap2", "transport": "usb", "hasResidentKey": False, "hasUserVerification": True,
        "isUserVerified": True, "automaticPresenceSimulation": True,
    }  # fmt: skip
    return session, session.send("WebAuthn.addVirtualAuthenticator", {"options": options})["authenticatorId"]


def test_security_key_is_added_and_logs_in(page):
    log_in(page, "keyed")
    session, key = virtual_key(page)
    page.goto("/account/keys/add/")
    page.fill("input[name=name]", "the blue one")
    page.click("#security-key button")
    page.wait_for_url(re.compile("/account/recovery/"))
    page.goto("/account/")
    assert "the blue one" in page.inner_text("main")
    log_out(page)
    log_in(page, "keyed")
    assert page.url.endswith("/login/code/")
    page.click("#security-key button")
    page.wait_for_url(re.compile("/admin/$"))
    log_out(page)
    log_in(page, "keyed")
    session.send("WebAuthn.removeVirtualAuthenticator", {"authenticatorId": key})
    virtual_key(page)  # somebody else's
    page.click("#security-key button")
    page.wait_for_selector("#security-key p[role=alert]:visible")
    page.goto("/admin/")
    assert "/login/" in page.url


def test_authenticator_app_is_added_and_logs_in(page):
    log_in(page, "coded")
    page.goto("/account/app/add/")
    secret = page.inner_text("code.secret")
    assert page.evaluate("document.querySelector('img.qr').naturalWidth") > 0
    page.fill("input[name=code]", code_of(secret, 0))
    page.click("main button")
    page.wait_for_url(re.compile("/account/recovery/"))
    recovery = page.inner_text("ul.codes").split()[0]
    log_out(page)
    for code in (code_of(secret), recovery):
        log_in(page, "coded")
        page.fill("input[name=code]", code)
        page.click("main button:has-text('Log in') >> nth=0")
        page.wait_for_url(re.compile("/admin/$"))
        log_out(page)


def test_pages_keep_to_their_content_policy(page):
    page.add_init_script(WATCH)
    log_in(page, "admin")
    page.wait_for_url(re.compile("/admin/$"))
    for path in BESIDE:
        assert_kept(page, page.goto(path))


IMAGE = "document.body.append(Object.assign(new Image(), {src: 'http://127.0.0.1:9/a.png'}))"


@pytest.mark.parametrize("address", ["/account/", "/admin/"])
def test_breach_of_a_policy_is_found(page, address):
    page.add_init_script(WATCH)
    log_in(page, "admin")
    page.wait_for_url(re.compile("/admin/$"))
    answer = page.goto(address)
    page.evaluate(IMAGE)
    with pytest.raises(AssertionError, match=r"img-src http://127\.0\.0\.1:9/a\.png"):
        assert_kept(page, answer)
