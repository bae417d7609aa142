"""The live page: a turn as it goes on, an order without a mouse, a phone, and a web process that is killed."""

import re
from contextlib import ExitStack

import pytest

from tests.browser.test_console import press_until
from tests.e2e.formats import OPENAI, Stream
from tests.e2e.installation import KEY, until

PAGE = "/admin/live/"
PLACES = 8  # of the only instance
LIVE, LOST = "Live: shown as it happens.", "The gateway does not answer; tried again."
HELD = '[[sim: text="first second" chunks=2 delay_ms=60000]] x'


@pytest.fixture
def page(log_in):
    page = log_in("olga")
    page.on("dialog", lambda dialog: dialog.accept())
    page.goto(PAGE)
    says(page, LIVE)
    return page


def says(page, text):
    page.wait_for_function("text => document.querySelector('[data-connection]').textContent === text", arg=text)


def field(page, row, name):
    return page.locator(f'[data-row="{row}"] [data-field="{name}"]')


def test_turn_is_seen_while_it_runs(page, whole):
    with Stream(whole, OPENAI, HELD, key=KEY) as running:
        running.until(b"first")
        assert until(lambda: field(page, running.request_id, "phase").all_inner_texts()) == ["writes"]
        assert field(page, running.request_id, "key").inner_text() == "alice"
        first = field(page, running.request_id, "age").inner_text()
        until(lambda: field(page, running.request_id, "age").inner_text() != first)
        assert re.fullmatch(r"\d+ ms|\d+\.\d s", field(page, running.request_id, "first").inner_text())
        assert page.locator('[data-figure="load"]').inner_text().startswith("1 / ")
    until(lambda: not field(page, running.request_id, "phase").count())
    until(lambda: page.locator('[data-empty="turns"]').is_visible())


def test_queue_rates_and_memory_are_seen(page, whole):
    with ExitStack() as stack:
        for _ in range(PLACES):
            stack.enter_context(Stream(whole, OPENAI, HELD, key=KEY)).until(b"first")
        last = stack.enter_context(Stream(whole, OPENAI, "[[sim: text=x]] x", key=KEY))
        line = page.locator('[data-list="queue"] [data-row]')
        until(lambda: line.count() == 1)
        assert line.locator('[data-field="key"]').inner_text() == "alice"
        assert line.locator('[data-field="waiting"]').inner_text() == "1"
        assert page.locator('[data-figure="waiting"]').inner_text() == "1"
        last.hang_up()
    assert until(lambda: page.locator('[data-figure="turns"]').inner_text() not in ("–", "0"))
    for row in ("w1-i1", "web-1"):
        assert until(lambda row=row: field(page, row, "memory").inner_text()).endswith("MB")


def test_orders_need_no_mouse(page):
    press_until(page, "Tab", "[data-row='w1-i1'] button[formaction$='/drain/']", 120)
    page.keyboard.press("Enter")
    page.wait_for_function("() => document.querySelector('[data-said]').textContent.startsWith('Drain: w1-i1.')")
    until(lambda: field(page, "w1-i1", "state").inner_text() == "draining")
    until(lambda: page.locator("[data-held]").is_visible())
    # What is written each second does not take the focus away.
    assert page.evaluate("document.activeElement.formAction").endswith("/drain/")
    press_until(page, "Tab", "[data-row='w1-i1'] button[formaction$='/start/']", 5)
    page.keyboard.press("Enter")
    until(lambda: field(page, "w1-i1", "state").inner_text() == "ready")
    until(lambda: not page.locator("[data-held]").is_visible())


def test_log_is_followed(page, whole):
    page.click("[data-row='w1-i1'] a[href*='/live/log/']")
    page.wait_for_url(re.compile("/live/log/w1-i1/$"))
    with Stream(whole, OPENAI, HELD, key=KEY) as running:
        running.until(b"first")
        assert until(lambda: "Async chat, request id" in page.inner_text("pre"))


def test_phone_has_room_for_everything(page):
    page.set_viewport_size({"width": 390, "height": 800})
    assert page.evaluate("document.documentElement.scrollWidth") <= 390


def test_page_outlives_its_web_process(page, whole):
    before = field(page, "web-1", "pid").inner_text()
    page.evaluate("window.loadedOnce = true")
    whole.descendant("gateway_project.server").kill()
    says(page, LOST)
    says(page, LIVE)
    until(lambda: field(page, "web-1", "pid").inner_text() not in ("", before))
    until(lambda: field(page, "w1-i1", "state").inner_text() == "ready")
    assert page.evaluate("window.loadedOnce")


def test_turns_are_there_without_scripts(log_in, whole):
    page = log_in("olga", java_script_enabled=False)
    with Stream(whole, OPENAI, HELD, key=KEY) as running:
        running.until(b"first")

        def shown():
            page.goto(PAGE)
            return field(page, running.request_id, "phase").all_inner_texts()

        assert until(shown) == ["writes"]
    page.click("[data-row='w1-i1'] button[formaction$='/clear/']")
    assert "Clear pauses" in page.inner_text("main, #content")


def test_page_asks_where_sockets_do_not_pass(log_in, whole):
    page = log_in("olga")
    page.add_init_script("""
        window.WebSocket = class { constructor() { setTimeout(() => this.onclose({ code: 1006 })) } close() {} };
    """)
    page.goto(PAGE)
    says(page, "Asked every few seconds.")
    with Stream(whole, OPENAI, HELD, key=KEY) as running:
        running.until(b"first")
        assert until(lambda: field(page, running.request_id, "phase").all_inner_texts()) == ["writes"]
