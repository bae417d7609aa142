"""The admin console in a real browser: a key is made, seen once, used; what it did is seen."""

import re
import shutil

import pytest

from tests.e2e.installation import KEY, PASSWORD, until
from tests.e2e.speech import OPENAI, send
from tests.e2e.test_installation import start

CHROMIUM = shutil.which("chromium") or shutil.which("chromium-browser") or shutil.which("google-chrome")
pytestmark = pytest.mark.skipif(CHROMIUM is None, reason="no Chromium is installed on this machine")


@pytest.fixture(scope="module")
def whole(tmp_path_factory, template):
    with start(tmp_path_factory.mktemp("browsed"), template) as running:
        running.complete()
        yield running


@pytest.fixture(scope="module")
def browser():
    from playwright.sync_api import sync_playwright

    with sync_playwright() as playwright:
        arguments = ["--no-sandbox", "--disable-gpu", "--disable-background-networking"]
        browser = playwright.chromium.launch(executable_path=CHROMIUM, args=arguments)
        yield browser
        browser.close()


@pytest.fixture
def page(browser, whole):
    """The console, logged in."""
    context = browser.new_context(base_url=f"http://127.0.0.1:{whole.port}")
    page = context.new_page()
    page.goto("/admin/")
    page.fill("input[name=username]", "admin")
    page.fill("input[name=password]", PASSWORD)
    page.click("button[type=submit]")
    page.wait_for_url(re.compile("/admin/$"))
    yield page
    context.close()


def shows(page, path, *texts):
    """Open a list until it shows all of these."""

    def found():
        page.goto(path)
        content = page.content()
        return all(text in content for text in texts)

    return until(found, 25, every=0.5)


def test_a_key_is_made_seen_once_and_used_and_its_traces_are_seen(page, whole):
    page.goto("/admin/accounts/apikey/add/")
    page.fill("input[name=name]", "made in a browser")
    page.click("button[name=_save], input[name=_save]")
    secret = re.search(r"lgw_[A-Za-z0-9_-]{20,}", page.content())[0]
    page.goto("/admin/accounts/apikey/")
    assert secret not in page.content()
    answer = send(
        whole, "POST", OPENAI.path, key=secret, body=OPENAI.body("[[sim: text=hello]] x", model="seen-in-usage")
    )
    assert (answer.status, answer.text) == (200, "hello")
    assert shows(page, "/admin/accounts/usage/", "seen-in-usage")
    assert shows(page, "/admin/sessions_store/entry/", "made in a browser")
    assert shows(page, "/admin/bridge/instance/", "w1-i1", "ready")


def test_a_session_that_is_forgotten_is_not_gone_on_in(page, whole):
    question = {"role": "user", "content": "[[sim: text=remembered]] x"}
    body = OPENAI.body([question])
    assert send(whole, "POST", OPENAI.path, key=KEY, body=body).text == "remembered"
    shows(page, "/admin/sessions_store/entry/?q=alice", "alice")
    page.check("#action-toggle")
    page.select_option("select[name=action]", "forget")
    page.locator("#changelist-form button[type=submit], #changelist-actions button[type=submit]").first.click()
    page.wait_for_load_state()
    assert "Forgot" in page.content()
    messages = [question, {"role": "assistant", "content": "remembered"}, {"role": "user", "content": "go on"}]
    answer = send(whole, "POST", OPENAI.path, key=KEY, body=OPENAI.body(messages))
    assert answer.headers["x-lingma-session"] == "new"


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_no_page_of_the_console_has_an_error(browser, whole, page, scheme):
    page.emulate_media(color_scheme=scheme)
    problems = []
    page.on("pageerror", lambda error: problems.append(str(error)))
    page.on("response", lambda response: problems.append(response.url) if response.status >= 400 else None)
    for path in (
        "", "accounts/apikey/", "accounts/team/", "accounts/usage/", "sessions_store/entry/", "bridge/instance/",
        "bridge/modelalias/", "bridge/modelalias/add/", "bridge/modelalias/try/?name=gpt-5", "bridge/prompttemplate/",
        "bridge/prompttemplate/add/", "django_celery_beat/periodictask/",
    ):  # fmt: skip
        page.goto(f"/admin/{path}")
    assert problems == []


def test_an_alias_that_is_added_counts_within_seconds(page, whole):
    page.goto("/admin/bridge/modelalias/add/")
    page.fill("input[name=pattern]", "Team-*")
    page.fill("input[name=lingma_model]", "qwen3-coder")
    page.click("button[name=_save], input[name=_save]")
    page.wait_for_url(re.compile("/modelalias/$"))
    body = OPENAI.body("[[sim: text=hello]] x", model="team-fast")

    def used():
        return send(whole, "POST", OPENAI.path, key=KEY, body=body).headers["x-lingma-model"]

    assert until(lambda: used() != "org_auto" and used(), 10, every=0.2) == "dashscope_qwen3_coder"
    page.goto("/admin/bridge/modelalias/try/?name=team-fast")
    assert "dashscope_qwen3_coder" in page.content()
