"""The playground in a real browser: what is sent, what comes, and what it says of failures."""

import json
import re
import subprocess

import pytest

from tests.e2e.formats import send
from tests.e2e.installation import KEY, METRICS_KEY, PASSWORD, Gateway, limited_key, until
from tests.e2e.whole import filed

PROTOCOLS = {"chat": "/v1/chat/completions", "responses": "/v1/responses", "messages": "/v1/messages"}
ENDS = {"chat": "stop", "responses": "completed", "messages": "end_turn"}
protocols = pytest.mark.parametrize("protocol", PROTOCOLS)


@pytest.fixture(scope="module")
def new_play(browser):
    """`new_play(gateway)`: the page of somebody who has logged in; none may violate its policy."""
    contexts, complaints = [], []

    def new_play(gateway, **options):
        context = browser.new_context(base_url=f"http://127.0.0.1:{gateway.port}", **options)
        contexts.append(context)
        page = context.new_page()
        page.on("console", lambda message: complaints.append(message.text))
        page.on("pageerror", lambda error: complaints.append(f"Content Security Policy, or a bug: {error}"))
        page.goto("/login/?next=/playground/")
        page.fill("input[name=username]", "admin")
        page.fill("input[name=password]", PASSWORD)
        page.click("main button")
        page.wait_for_url(re.compile(r":\d+/playground/$"))
        return page

    yield new_play
    for context in contexts:
        context.close()
    assert [text for text in complaints if "Content Security Policy" in text] == []


@pytest.fixture(scope="module")
def shared(new_play, whole):
    return new_play(whole)


@pytest.fixture
def play(shared):
    """The page anew, with a key that was pasted."""
    shared.goto("/playground/")
    paste(shared, KEY)
    return shared


def paste(page, key):
    page.fill("#key", key)
    page.press("#key", "Tab")


def ask(page, protocol, message, *, stream=True, **more):
    """Fill in the form, and send it."""
    page.select_option("#protocol", protocol)
    page.fill("#message", message)
    page.set_checked("#stream", stream)
    for field, value in more.items():
        page.fill(f"#{field.replace('_', '-')}", value)
    page.click("#send")


def ended(page):
    """The parts of the answer, once it has ended."""
    page.wait_for_selector("#send:not([disabled])", timeout=60_000)
    names = ("state", "answer", "thought", "calls", "error", "first", "total", "tokens", "reason", "request", "head")
    return {name: page.text_content(f"#{name}") for name in names} | {"frames": frames(page)}


def frames(page):
    return page.locator("#frames pre").all_text_contents()


def request_id(page):
    return page.get_attribute("#explain", "href").removeprefix("/usage/r/")


@protocols
@pytest.mark.parametrize("stream", [True, False], ids=["streamed", "plain"])
def test_answer_and_frames_are_shown(play, protocol, stream):
    prompt = '[[sim: text="hello <b>there</b> 通义灵码" think="let me see" usage="12,3"]] x'
    play.select_option("#thinking", "on")
    ask(play, protocol, prompt, stream=stream, system="Be <i>brief</i>.", temperature="0.5", max_tokens="500")
    shown = ended(play)
    assert (shown["answer"], shown["thought"]) == ("hello <b>there</b> 通义灵码", "let me see")
    assert (shown["state"], shown["error"], shown["tokens"], shown["reason"]) == (
        "Done.", "", "12 / 3", ENDS[protocol]
    )  # fmt: skip
    assert shown["request"].startswith(f"POST {PROTOCOLS[protocol]}\n")
    assert KEY not in play.content()
    sent = json.loads(shown["request"].rpartition("\n\n")[2])
    assert (sent["temperature"], sent["stream"]) == (0.5, stream)
    assert shown["head"].startswith("200 OK\n")
    assert f"x-request-id: {request_id(play)}" in shown["head"]
    assert "x-lingma-instance: w1-i1" in shown["head"]
    assert int(re.fullmatch(r"(\d+) ms", shown["first"])[1]) <= int(re.fullmatch(r"(\d+) ms", shown["total"])[1])
    assert len(shown["frames"]) > 3 if stream else len(shown["frames"]) == 1
    assert all(re.fullmatch(r"\+\d+ ms", text) for text in play.locator("#frames .at").all_text_contents())


@protocols
@pytest.mark.parametrize("stream", [True, False], ids=["streamed", "plain"])
def test_calls_of_the_sample_tool_are_shown(play, protocol, stream):
    plan = json.dumps([{"call": "get_weather", "arguments": {"city": "Paris"}}])
    play.check("#tools")
    ask(play, protocol, f"[[sim: plan={json.dumps(plan)}]] x", stream=stream)
    shown = ended(play)
    assert re.fullmatch(r'get_weather\(\{"city": ?"Paris"\}\)', shown["calls"])
    assert shown["error"] == ""


@protocols
def test_stop_ends_the_turn_as_cancelled(play, protocol, directory):
    ask(play, protocol, "[[sim: chunks=10000 delay_ms=20]] x")
    play.wait_for_selector("#answer:not(:empty)")
    play.click("#stop")
    shown = ended(play)
    assert "Stopped after" in shown["state"]
    assert shown["error"] == ""
    rows = until(lambda: filed(directory, request_id(play)))
    assert rows[0][0] == "cancelled"


def test_slow_turn_counts_the_seconds(play, directory):
    ask(play, "chat", "[[sim: first_ms=60000]] x")
    play.wait_for_selector("#waiting:has-text('Waiting for the first token: 1.')")
    play.keyboard.press("Enter")  # the focus is on Stop
    assert "Stopped after" in ended(play)["state"]
    assert play.evaluate("document.activeElement.id") == "send"


@protocols
def test_error_in_mid_stream_is_told(play, protocol):
    ask(play, protocol, '[[sim: fault=finish_code finish=500 after=20 text="half of it" chunks=40 delay_ms=20]] x')
    shown = ended(play)
    assert shown["state"] == "Failed."
    assert shown["head"].startswith("200 OK")
    assert "code 500" in shown["error"]
    assert shown["answer"] != ""


@protocols
def test_refusals_are_told_in_words(play, protocol):
    paste(play, "lgw_wrong-key-of-nobody")
    ask(play, protocol, "x")
    assert "401: The key was refused. " in ended(play)["error"]
    paste(play, limited_key("narrow"))
    ask(play, protocol, "x", model="dashscope_qwen3_coder")
    assert re.match("403: This key may not do that. .*model", ended(play)["error"])
    paste(play, KEY)
    ask(play, protocol, "x", model="org_auto", temperature="-0")
    assert ended(play)["error"] == ""


@protocols
def test_limit_that_is_reached_says_when_again(play, protocol):
    paste(play, limited_key("rpm"))
    for _ in range(2):
        ask(play, protocol, "[[sim: text=hello]] x")
        shown = ended(play)
    assert re.match(r"429: A limit was reached.*requests? per minute.*Try again in \d+ s\.", shown["error"])


def test_key_without_form_is_not_sent(play):
    for key, words in (("", "No key yet"), ("schlüssel", "not the form of a key")):
        paste(play, key)
        play.click("#send")
        assert words in play.text_content("#key-state")
        assert play.evaluate("document.activeElement.id") == "key"
    assert play.text_content("#state") == "Nothing was sent yet."


def test_models_are_those_of_the_key(play):
    def models(key, number):
        paste(play, key)
        play.wait_for_selector(f"#key-state:has-text('may use: {number}.')")
        return play.locator("#models option").evaluate_all("options => options.map((option) => option.value)")

    assert models(limited_key("narrow"), 1) == ["org_auto"]
    assert "dashscope_qwen3_coder" in models(METRICS_KEY, 7)


def test_enter_in_a_pasted_key_keeps_it(shared):
    shared.goto("/playground/")
    sent = []
    shared.on("request", lambda request: sent.append(request.url.rpartition("/playground/")[2]))
    shared.fill("#key", KEY)
    shared.press("#key", "Enter")
    shared.wait_for_selector("#key-state:has-text('Models that this key may use')")
    shared.wait_for_load_state("networkidle")
    assert shared.input_value("#key") == KEY
    assert "key/" not in sent


def test_request_is_explained(play):
    ask(play, "messages", "[[sim: text=hello]] x", model="asked-in-the-playground")
    ended(play)
    address = play.get_attribute("#explain", "href")

    def explained():
        play.goto(address)
        return "asked-in-the-playground" in play.inner_text("main")

    assert until(explained, every=0.3)


def test_own_key_lives_as_long_as_wanted(new_play, whole):
    page = new_play(whole)
    sent = []
    page.on("request", lambda request: sent.append((request.url, request.headers.get("authorization", ""))))
    page.click("text=Make a key")
    page.wait_for_selector("#key-state:has-text('playground: admin'):has-text('may use: 7.')")
    ask(page, "chat", "[[sim: text=hello]] x")
    assert ended(page)["answer"] == "hello"
    secret = sent[-1][1].removeprefix("Bearer ")
    assert secret.startswith("lgw_")
    assert not any(secret in url for url, _ in sent)
    assert secret not in page.content()
    assert page.evaluate("JSON.stringify([localStorage, sessionStorage, document.cookie])").find(secret) == -1
    page.click("#end")
    page.wait_for_selector("#key-state:has-text('The key was ended.')")
    assert page.locator("#end").is_hidden()
    assert until(lambda: send(whole, "GET", "/v1/models", key=secret).status == 401)
    page.goto("/admin/accounts/auditentry/?q=playground")
    assert page.locator("#result_list tbody tr").count() >= 2


@pytest.mark.parametrize("cookie", ["sessionid", "csrftoken"])
def test_page_that_was_logged_out_says_so(new_play, whole, cookie):
    page = new_play(whole)
    page.context.clear_cookies(name=cookie)
    page.click("text=Make a key")
    page.wait_for_selector("#key-state:not(:empty)")
    assert "Load this page again" in page.text_content("#key-state")


@protocols
@pytest.mark.parametrize("stream", [True, False], ids=["streamed", "plain"])
def test_curl_works_as_it_stands(play, protocol, stream):
    ask(play, protocol, '[[sim: text=hello]] it\'s $HOME `x` "y" \\ 通义\nsecond', stream=stream, system="Don't.")
    ended(play)
    assert curl(play.text_content("#curl")).count("hello") >= 1
    assert KEY not in play.text_content("#curl")


def curl(text):
    command = text.replace("YOUR_API_KEY", KEY)
    done = subprocess.run(["sh", "-c", f"exec {command} --silent --fail"], capture_output=True, text=True, timeout=60)
    assert done.returncode == 0, done.stderr
    return done.stdout


def test_curl_stands_there_without_scripts(new_play, whole):
    page = new_play(whole, java_script_enabled=False)
    assert "needs JavaScript" in page.inner_text("main")
    assert not page.is_visible("#send")
    assert json.loads(curl(page.inner_text("noscript pre")))["choices"]


def test_keyboard_alone_is_enough(new_play, whole):
    page = new_play(whole)
    page.focus("#key")
    page.keyboard.type(KEY)
    for _ in range(40):
        page.keyboard.press("Tab")
        if page.evaluate("document.activeElement.id") == "send":
            break
    page.keyboard.press("Enter")
    assert ended(page)["state"] == "Done."
    assert page.get_attribute("#answer", "aria-live") == "polite"
    unlabelled = (
        "[...document.querySelectorAll('input:not([type=hidden]), select, textarea')].filter(e => !e.labels.length)"
    )
    assert page.evaluate(f"{unlabelled}.length") == 0


EVERY_SLICE = """([text, wanted]) => {
  const bytes = new TextEncoder().encode(text), wrong = [];
  for (let size = 1; size <= bytes.length; size++) {
    const parser = new EventParser(), decoder = new TextDecoder(), frames = [];
    for (let at = 0; at < bytes.length; at += size) {
      frames.push(...parser.feed(decoder.decode(bytes.slice(at, at + size), { stream: true })));
    }
    if (JSON.stringify(frames.map((frame) => frame.data)) !== JSON.stringify(wanted)) wrong.push([size, frames]);
  }
  return wrong;
}"""


@pytest.mark.parametrize("newline", ["\n", "\r\n", "\r"])
def test_slices_of_a_stream_make_no_difference(play, newline):
    lines = [
        "\ufeffevent: one", 'data: {"a": "通义灵码 🙂"}', "", ": a comment", "", "id: 7", "data:two", "data: lines",
        "data", "", "", "retry: 5", "unknown: x", "data:  three: a", "", "data: unfinished",
    ]  # fmt: skip
    wanted = ['{"a": "通义灵码 🙂"}', "", "two\nlines\n", " three: a"]
    assert play.evaluate(EVERY_SLICE, [newline.join(lines), wanted]) == []


def answered(page, body, *, status=200, kind="text/event-stream", protocol="chat"):
    """What the page makes of an answer that a proxy on the way might give."""
    page.route("**/v1/chat/completions", lambda route: route.fulfill(status=status, body=body, content_type=kind))
    ask(page, protocol, "x")
    shown = ended(page)
    page.unroute("**/v1/chat/completions")
    return shown


def test_stream_that_breaks_off_is_no_success(play):
    delta = 'data: {"choices":[{"index":0,"delta":{"content":"half"},"finish_reason":null}]}\r\n\r\n'
    shown = answered(play, delta + 'data: {"cho')
    assert (shown["answer"], shown["state"]) == ("half", "Failed.")
    assert "broke off" in shown["error"]
    assert shown["frames"][-1] == 'data: {"cho'


@pytest.mark.parametrize(("status", "kind"), [(502, "text/html"), (200, "application/json")])
def test_answer_that_is_no_json_is_told(play, status, kind):
    shown = answered(play, "<html><h1>Bad Gateway</h1>", status=status, kind=kind)
    assert "What came is no JSON. <html>" in shown["error"]
    assert play.locator("main h1:has-text('Bad Gateway')").count() == 0


def test_long_answers_are_bounded(play):
    delta = 'data: {"choices":[{"index":0,"delta":{"content":"%s"},"finish_reason":null}]}\n\n'
    end = 'data: {"choices":[{"index":0,"delta":{},"finish_reason":"stop"}]}\n\ndata: [DONE]\n\n'
    shown = answered(play, delta % ("x" * 30_000) * 8 + delta % "y" * 1200 + end)
    assert shown["answer"].startswith("x" * 200_000 + "\nCut here: 41200 more")
    assert len(shown["frames"]) == 1000
    assert play.text_content("#more") == "Frames that are not shown: 210."
    assert max(map(len, shown["frames"])) < 20_100
    assert play.locator("#frames details[open]").count() == 0
    assert play.locator("#frames details").count() == 8


def test_gateway_that_is_away_is_told(play):
    play.route("**/v1/chat/completions", lambda route: route.abort("connectionrefused"))
    ask(play, "chat", "x")
    assert "cannot be reached" in ended(play)["error"]


def test_absent_instance_is_told(new_play, tmp_path, template):
    with Gateway(tmp_path, template, wait=False, LINGMA_BIN="/bin/false", QUEUE_TIMEOUT_SEC="1") as gateway:
        until(lambda: send(gateway, "GET", "/healthz").status == 200)
        page = new_play(gateway)
        paste(page, KEY)
        for protocol in PROTOCOLS:
            ask(page, protocol, "x")
            shown = ended(page)
            assert re.match(r"5\d\d: No instance can take the request right now\. ", shown["error"])
        page.close()
