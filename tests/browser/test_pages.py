"""The pages of key holders and of single requests in a real browser that runs no scripts."""

import re

import pytest

from tests.e2e.formats import ANTHROPIC, OPENAI, send
from tests.e2e.installation import KEY, OTHER_KEY, PASSWORD, django, limited_key, until


@pytest.fixture
def new_page(browser, whole):
    """`new_page()`: a browser of its own, which runs no scripts and must not complain of any."""
    contexts, complaints = [], []

    def new_page(**options):
        context = browser.new_context(base_url=f"http://127.0.0.1:{whole.port}", java_script_enabled=False, **options)
        contexts.append(context)
        page = context.new_page()
        page.on("console", lambda message: complaints.append(message.text))
        return page

    yield new_page
    for context in contexts:
        context.close()
    assert [text for text in complaints if "Content Security Policy" in text] == []


def paste(page, key):
    page.goto("/me/")
    page.fill("#key", key)
    page.click("main button")
    return page.inner_text("main")


def test_key_holders_never_meet(new_page, whole):
    for key, model in ((KEY, "asked-by-alice"), (OTHER_KEY, "asked-by-bob")):
        send(whole, "POST", OPENAI.path, key=key, body=OPENAI.body("[[sim: text=hello]] x", model=model))
    alice, bob = new_page(), new_page(viewport={"width": 390, "height": 800})
    assert "alice" in paste(alice, KEY)
    assert "bob" in paste(bob, OTHER_KEY)

    def shown(page, model):
        page.reload()
        return model in page.inner_text("main")

    assert until(lambda: shown(alice, "asked-by-alice"), every=0.3)
    assert until(lambda: shown(bob, "asked-by-bob"), every=0.3)
    assert not shown(alice, "asked-by-bob")
    assert not shown(bob, "asked-by-alice")
    assert "First request seen" in bob.inner_text("main")
    assert "YOUR_API_KEY" in bob.content()
    assert KEY not in alice.content()
    alice.click("text=Forget on this browser")
    assert "Paste an API key" in alice.inner_text("main")


def test_limit_is_told_as_in_the_refusal(new_page, whole):
    key = limited_key("rpm")
    answers = [send(whole, "POST", OPENAI.path, key=key, body=OPENAI.body("[[sim: text=hello]] x")) for _ in range(5)]
    refused = next(answer for answer in answers if answer.status == 429)
    page = new_page()
    text = paste(page, key)
    limit = refused.headers["x-ratelimit-limit-requests"]
    assert re.search(rf"requests per minute of the key\s+{limit} / {limit}\s+0\s", text)

    def told():
        page.reload()
        return "The limit of the key is reached: requests per minute" in page.inner_text("main")

    assert until(told, every=0.3)


def test_revoked_key_is_out_at_once(new_page, whole, directory):
    secret = django(
        directory,
        "from accounts.keys import services\nfrom accounts.models import ApiKey\n"
        "print(services.create(ApiKey(name='soon revoked')))",
    )
    page = new_page()
    assert "soon revoked" in paste(page, secret)
    django(directory, "from accounts.models import ApiKey\nApiKey.objects.filter(name='soon revoked').revoke()")
    page.reload()
    assert "The key is revoked." in page.inner_text("main")
    assert "My last requests" not in page.inner_text("main")


def test_any_id_of_an_answer_explains_it(new_page, whole):
    body = ANTHROPIC.body("[[sim: finish=500]] x", model="claude-sonnet-4-5", stream=False)
    answer = send(whole, "POST", ANTHROPIC.path, key=KEY, body=body)
    digits = answer.headers["request-id"].removeprefix("req_")
    page = new_page()
    page.goto("/login/?next=/usage/")
    page.fill("input[name=username]", "admin")
    page.fill("input[name=password]", PASSWORD)
    page.click("main button")

    def found():
        page.goto("/usage/")
        page.fill("#find", f"msg_{digits}")
        page.click("form[role=search] button")
        return page.url.endswith(f"/usage/r/req_{digits}") and "claude-sonnet-4-5" in page.inner_text("main")

    assert until(found, every=0.3)
    assert "The alias claude-" in page.inner_text("main")
    assert page.locator("svg.bar rect").count() >= 1
