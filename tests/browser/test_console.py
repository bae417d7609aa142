"""The admin console in a real browser: a key is made, seen once, used; what it did is seen."""

import json
import re
import subprocess

import pytest

from tests.bridge.lingma.test_vsix import HERE, packed
from tests.e2e.formats import OPENAI, send
from tests.e2e.installation import KEY, PASSWORD, django, until


@pytest.fixture(scope="module")
def context(browser, whole):
    """Somebody who has logged in, with a cache: static files are fetched and compiled once."""
    context = browser.new_context(base_url=f"http://127.0.0.1:{whole.port}")
    page = context.new_page()
    page.goto("/admin/")
    page.fill("input[name=username]", "admin")
    page.fill("input[name=password]", PASSWORD)
    page.press("input[name=password]", "Enter")
    page.wait_for_url(re.compile("^[^?]*/admin/$"))
    page.close()
    yield context
    context.close()


@pytest.fixture
def page(context):
    """The console, in a tab of its own."""
    page = context.new_page()
    yield page
    page.close()


def shows(page, path, *texts):
    """Open a list until it shows all of these."""

    def found():
        page.goto(path)
        content = page.content()
        return all(text in content for text in texts)

    return until(found, every=0.5)


def test_key_is_made_shown_once_and_traced(page, whole):
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


def press(page, what):
    """A button at the top of a page, and the one that says the same on the next."""
    page.locator(f"a[href$='/{what}/']:visible").first.click()
    page.wait_for_url(re.compile(f"/{what}/$"))
    page.get_by_role("button", name=what.title(), exact=True).click()
    page.wait_for_load_state()


def test_key_is_rotated_paused_and_resumed(page, whole):
    def statuses(*keys):
        return [send(whole, "GET", "/v1/models", key=key).status for key in keys]

    page.goto("/admin/accounts/apikey/add/")
    page.fill("input[name=name]", "handled in a browser")
    page.click("button[name=_save], input[name=_save]")
    old = re.search(r"lgw_[A-Za-z0-9_-]{20,}", page.content())[0]
    page.goto("/admin/accounts/apikey/whose/")
    page.fill("textarea[name=text]", f"export KEY={old}")
    page.get_by_role("button", name="Search").click()
    page.get_by_role("link", name="handled in a browser").click()
    page.wait_for_url(re.compile("/change/$"))
    address = page.url
    press(page, "rotate")
    new = re.search(r"lgw_[A-Za-z0-9_-]{20,}", page.content())[0]
    assert statuses(old, new) == [200, 200]
    page.goto(address)
    assert "the older one works until" in page.content()
    press(page, "pause")
    until(lambda: statuses(old, new) == [401, 401])
    assert "Paused since" in page.content()
    press(page, "resume")
    until(lambda: statuses(old, new) == [200, 200])


def test_deleted_session_is_not_continued(page, whole):
    question = {"role": "user", "content": "[[sim: text=remembered]] x"}
    body = OPENAI.body([question])
    assert send(whole, "POST", OPENAI.path, key=KEY, body=body).text == "remembered"
    shows(page, "/admin/sessions_store/entry/?q=alice", "alice")
    page.check("#action-toggle")
    page.select_option("select[name=action]", "delete_selected")
    page.locator("#changelist-form button[type=submit], #changelist-actions button[type=submit]").first.click()
    with page.expect_navigation():
        page.click("text=Yes, I’m sure")
    assert re.search(r"Deleted \d+ sessions?", page.content())
    messages = [question, {"role": "assistant", "content": "remembered"}, {"role": "user", "content": "go on"}]
    answer = send(whole, "POST", OPENAI.path, key=KEY, body=OPENAI.body(messages))
    assert answer.headers["x-lingma-session"] == "new"


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


def test_setup_of_confined_key_works_as_printed(page, whole):
    page.goto("/admin/accounts/apikey/add/")
    page.fill("input[name=name]", "confined in a browser")
    page.fill("input[name=allowed_models]", "dashscope_qwen3_coder")
    page.click("button[name=_save], input[name=_save]")
    curl = page.locator("section", has_text="curl").last.locator("pre").inner_text()
    done = subprocess.run(["sh", "-c", f"exec {curl} --silent --fail"], capture_output=True, text=True, timeout=20)
    assert done.returncode == 0, done
    assert json.loads(done.stdout)["object"] == "chat.completion"


def press_until(page, key, reached, most=60):
    for _ in range(most):
        page.keyboard.press(key)
        if page.evaluate(f"document.activeElement?.matches({reached!r})"):
            return
    raise AssertionError(f"{reached} is not reached by {key}")


def test_filters_and_row_actions_need_no_mouse(page):
    page.goto("/admin/accounts/apikey/")
    filters, more = "button[aria-controls=changelist-filter]", "button[aria-label='More actions']"
    press_until(page, "Tab", filters)
    page.keyboard.press("Enter")
    page.wait_for_function("document.activeElement.closest('#changelist-filter') !== null")
    page.keyboard.press("Escape")
    page.wait_for_function(f"document.activeElement.matches({filters!r})")
    assert not page.locator("#changelist-filter").is_visible()
    press_until(page, "Tab", more)
    page.keyboard.press("Enter")
    page.wait_for_function("document.activeElement.closest('nav[id^=row-actions]') !== null")
    page.keyboard.press("Enter")
    page.wait_for_url(re.compile("/revoke"))
    assert "Revoke this key?" in page.content()


CONTRAST = """
() => {
  const canvas = new OffscreenCanvas(1, 1).getContext('2d', {willReadFrequently: true})
  const over = (below, colour) => {
    canvas.fillStyle = `rgb(${below})`; canvas.fillRect(0, 0, 1, 1)
    canvas.fillStyle = colour; canvas.fillRect(0, 0, 1, 1)
    return [...canvas.getImageData(0, 0, 1, 1).data].slice(0, 3)
  }
  const white = [255, 255, 255]
  const ground = node => node ? over(ground(node.parentElement), getComputedStyle(node).backgroundColor) : white
  const light = rgb => {
    const [r, g, b] = rgb.map(v => (v /= 255) <= 0.03928 ? v / 12.92 : ((v + 0.055) / 1.055) ** 2.4)
    return 0.2126 * r + 0.7152 * g + 0.0722 * b
  }
  const found = []
  const texts = document.createTreeWalker(document.body, NodeFilter.SHOW_TEXT)
  while (texts.nextNode()) {
    const node = texts.currentNode.parentElement
    const seen = node.checkVisibility({opacityProperty: true, visibilityProperty: true})
    if (!seen || !texts.currentNode.data.trim()) continue
    if (node.closest('.material-symbols-outlined, script, style, template, [disabled]')) continue
    const below = ground(node), [a, b] = [light(over(below, getComputedStyle(node).color)), light(below)]
    const ratio = (Math.max(a, b) + 0.05) / (Math.min(a, b) + 0.05)
    const told = `${ratio.toFixed(2)} ${texts.currentNode.data.trim().slice(0, 30)} <${node.className}>`
    if (ratio.toFixed(1) < 4.5) found.push(told)
  }
  return [...new Set(found)]
}
"""


READ = ("", "accounts/apikey/", "accounts/usage/", "sessions_store/entry/", "bridge/instance/", "bridge/modelalias/",
        "bridge/modelalias/try/?name=gpt-5", "auth/user/")  # fmt: skip
OPENED = ("accounts/team/", "bridge/modelalias/add/", "bridge/prompttemplate/", "bridge/prompttemplate/add/",
          "django_celery_beat/periodictask/")  # fmt: skip


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_pages_have_no_error_and_readable_text(page, whole, scheme):
    page.emulate_media(color_scheme=scheme)
    send(whole, "POST", OPENAI.path, key=KEY, body=OPENAI.body("x", model=f"to-be-read-{scheme}"))
    assert shows(page, "/admin/accounts/usage/", f"to-be-read-{scheme}")
    pale, problems = {}, []
    page.on("pageerror", lambda error: problems.append(str(error)))
    page.on("response", lambda response: problems.append(response.url) if response.status >= 400 else None)
    for path in (*READ, *OPENED):
        page.goto(f"/admin/{path}")
        if path in READ and (found := page.evaluate(CONTRAST)):
            pale[path] = found
    assert (pale, problems) == ({}, [])


@pytest.mark.parametrize("width", [1440, 390])
def test_a_long_name_leaves_every_column_in_sight(page, whole, width):
    body = OPENAI.body("x", model="m" * 128)
    assert send(whole, "POST", OPENAI.path, key=KEY, body=body).status == 200
    page.set_viewport_size({"width": width, "height": 900})
    assert shows(page, "/admin/accounts/usage/", "m" * 40)
    assert page.evaluate("document.documentElement.scrollWidth") <= width
    for column in ("turn", "key", "model_name", "outcome", "calls", "speed", "tokens"):
        box = page.locator(f"#result_list .field-{column}").first.bounding_box()
        assert box["x"] + box["width"] <= width


LONG_NAMES = """
from accounts.models import Alert, ApiKey, Team
team = Team.objects.create(name="The team whose name is far longer than any column has room for")
key = ApiKey.objects.create(
    name="The key of somebody who writes whole sentences into fields", hint="lgw_long", digest="long", team=team,
    rpm=1000, concurrency=10, requests_day=9,
)
Alert.objects.create(kind="new_network", key=key, facts=["203.0.113.0/24"])
"""


@pytest.fixture(scope="module")
def long_names(whole):
    django(whole.directory, LONG_NAMES)


@pytest.mark.usefixtures("long_names")
def test_list_of_keys_has_all_columns_in_sight(page):
    page.set_viewport_size({"width": 1440, "height": 900})
    page.goto("/admin/accounts/apikey/?q=lgw_long")
    edge = page.locator(".simplebar-content-wrapper:has(#result_list)").bounding_box()
    cells = page.locator("#result_list tbody tr").first.locator("td, th").all()
    assert len(cells) > 8
    for cell in cells:
        box = cell.bounding_box()
        assert box["x"] + box["width"] <= edge["x"] + edge["width"] + 1, cell.get_attribute("class")


@pytest.mark.usefixtures("long_names")
def test_button_names_its_alert_unseen(page):
    page.goto("/admin/")
    button = page.locator(".gw-alerts li", has_text="The key of somebody").get_by_role("button")
    assert "The key of somebody" in button.text_content()
    assert button.locator("span").bounding_box()["width"] <= 1


def test_language_is_chosen_in_the_menu(page):
    page.goto("/admin/accounts/apikey/")
    assert page.get_attribute("html", "lang") == "en"
    page.evaluate("document.querySelector('form input[name=language][value=zh-hans]').form.requestSubmit()")
    page.wait_for_function("document.documentElement.lang === 'zh-hans'")
    assert page.url.endswith("/admin/accounts/apikey/")
    assert "密钥" in page.inner_text("#changelist")
    page.goto("/admin/accounts/usage/")
    assert page.get_attribute("html", "lang") == "zh-hans"


def test_api_document_is_shown_and_tried_out(page, whole):
    troubles, requested = [], []
    page.on("console", lambda message: troubles.append(message.text))  # what the content policy stops is said there
    page.on("request", lambda request: requested.append(request.url))
    page.goto("/api/docs/")
    page.click("#operations-keys-keys_list .opblock-summary-control")
    page.click(".try-out__btn")
    page.click(".execute")
    page.wait_for_selector(".live-responses-table .response")
    assert page.inner_text(".live-responses-table .response .response-col_status") == "200"
    red = "parseInt(getComputedStyle(document.querySelector('#document .title')).color.match(/\\d+/)[0])"
    for scheme, told in (("dark", "html.dark-mode"), ("light", "html:not(.dark-mode)")):
        page.emulate_media(color_scheme=scheme)
        page.wait_for_selector(told)
        assert (page.evaluate(red) > 128) == (scheme == "dark")
    assert troubles == []
    assert [url for url in requested if not url.startswith((f"http://127.0.0.1:{whole.port}/", "data:"))] == []


def test_vsix_is_uploaded_with_progress(page, tmp_path):
    """What is no VSIX is told on the same page; nothing of it was reloaded."""
    good, bad = tmp_path / "good.vsix", tmp_path / "bad.vsix"
    good.write_bytes(packed({f"0.0.1/{HERE}/Lingma": "lingma"}, "0.0.1"))
    bad.write_bytes(bytes(4 << 20))
    page.goto("/admin/bridge/version/upload/")
    send_form = "form[data-upload] button[type=submit]"
    page.set_input_files("input[type=file]", bad)
    page.click(send_form)
    page.wait_for_function("document.querySelector('[data-error]').textContent.includes('VSIX')")  # in any language
    assert page.evaluate("document.querySelector('progress').value") == 100
    page.set_input_files("input[type=file]", good)
    page.click(send_form)
    page.wait_for_url(re.compile("/admin/bridge/version/$"))
    assert "0.0.1" in page.inner_text("body")
