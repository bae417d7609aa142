"""The usage pages in a real browser, without scripts; and exports whose client reads slowly, or leaves."""

import csv
import io
import json
import re
import socket

import pytest

from tests.bench.processes import forget_peak, memory, peak_bytes
from tests.e2e.installation import PASSWORD, Gateway, django, until

SEED = """
from django.core.management import call_command
from django.conf import settings
from django.contrib.auth.models import User
from accounts.models import Team
call_command("seed_demo", rows=20_000, seed=3, expected=settings.DATA_DIR / "expected.json")
User.objects.create_superuser("operator", password={password!r})
User.objects.create_user("member", password={password!r}).teams.add(Team.objects.get(name="Search"))
"""
EVER = "from=2020-01-01&to=2050-01-01"
PAGES = (
    "/login/", "/display/", "/usage/showback/", f"/usage/?{EVER}", "/usage/?range=7d",
    "/usage/?range=7d&reason=none", "/usage/rows/",
)  # fmt: skip


@pytest.fixture(scope="module")
def seeded(tmp_path_factory, template):
    with Gateway(tmp_path_factory.mktemp("usage"), template) as running:
        django(running.data_dir, SEED.format(password=PASSWORD))
        yield running


@pytest.fixture(scope="module")
def expected(seeded):
    return json.loads((seeded.data_dir / "expected.json").read_text())


def logged_in(browser, seeded, user, **how):
    context = browser.new_context(base_url=f"http://127.0.0.1:{seeded.port}", **how)
    page = context.new_page()
    page.goto("/usage/")
    page.fill("input[name=username]", user)
    page.fill("input[name=password]", PASSWORD)
    page.click("main button")
    page.wait_for_url(re.compile(r"^[^?]*/usage/$"))
    return page


def table(page, section):
    """The first two columns of a table below its head."""
    rows = page.locator(f"section[aria-labelledby={section}] tbody tr")
    return {
        row.locator("th a, th span").first.get_attribute("title") or row.locator("th").inner_text().strip(): int(
            row.locator("td").first.inner_text().replace(",", "")
        )
        for row in rows.all()
    }


def test_numbers_are_read_without_scripts(browser, seeded, expected):
    page = logged_in(browser, seeded, "operator", java_script_enabled=False)
    page.goto(f"/usage/?{EVER}")
    assert page.locator(".figure .value").first.inner_text() == f"{expected['total']['turns']:,}"
    teams = {name or "no team": sums["turns"] for name, sums in expected["by"]["team"].items()}
    assert table(page, "by-team") == teams
    models = {name or "none (refused before)": sums["turns"] for name, sums in expected["by"]["lingma_model"].items()}
    assert table(page, "by-lingma_model") == models
    page.locator("summary", has_text="The same as a table").click()
    assert page.locator("section[aria-labelledby=timeline-title] tbody tr").count() >= 60
    page.locator("section[aria-labelledby=by-team] tbody a", has_text="Search").first.click()
    assert page.locator(".figure .value").first.inner_text() == f"{teams['Search']:,}"
    page.context.close()


def test_member_finds_own_team_alone(browser, seeded, expected):
    page = logged_in(browser, seeded, "member", java_script_enabled=False)
    page.goto(f"/usage/?{EVER}")
    assert table(page, "by-team") == {"Search": expected["by"]["team"]["Search"]["turns"]}
    assert page.locator("a[href^='/admin/']").count() == 0
    page.context.close()


@pytest.mark.parametrize("width", [390, 1440])
def test_pages_keep_to_their_policy_and_width(browser, seeded, width):
    page = logged_in(browser, seeded, "operator", viewport={"width": width, "height": 900})
    complaints = []
    page.on("console", lambda message: complaints.append(message.text))
    page.on("requestfailed", lambda request: complaints.append(request.url))
    page.on("request", lambda request: request.url.startswith(page.url[:16]) or complaints.append(request.url))
    for path in PAGES:
        page.goto(path)
        assert page.evaluate("document.documentElement.scrollWidth <= innerWidth"), path
    assert complaints == []
    page.context.close()


HOURS = """() => {
    const box = (cell) => cell.getBoundingClientRect();
    const [head, ...days] = [...document.querySelectorAll(".heat tr")].map((row) => [...row.cells].map(box));
    return days.every((day) => day.length === head.length
        && day.every(({left, top}, place) => left === head[place].left && top >= head[place].bottom));
}"""


@pytest.mark.parametrize("width", [390, 1440])
def test_hours_stand_above_their_columns(browser, seeded, width):
    page = logged_in(browser, seeded, "operator", viewport={"width": width, "height": 900})
    page.goto("/usage/?range=30d")
    assert page.locator(".heat thead th").count() == 25
    assert page.evaluate(HOURS)
    page.context.close()


CHARTED = """() => [...document.querySelectorAll("canvas")].map((canvas) =>
    Chart.getChart(canvas).data.datasets.map(({data}) => data.reduce((sum, value) => sum + (value || 0), 0)))"""


def test_charts_have_the_numbers_of_the_table(browser, seeded, expected):
    page = logged_in(browser, seeded, "operator")
    page.goto(f"/usage/?{EVER}")
    page.wait_for_selector(".canvas-latency canvas")
    turns, latency = page.evaluate(CHARTED)
    assert sum(turns) == expected["total"]["turns"]
    assert turns[2:] == [expected["total"]["refused"], expected["total"]["failed"]]
    assert 0 < latency[0] < latency[1]
    assert page.locator("[data-chart] svg").first.is_hidden()
    page.emulate_media(color_scheme="dark")
    page.wait_for_function("document.querySelectorAll('canvas').length === 2")
    page.locator(".canvas-turns canvas").click()
    page.wait_for_url(re.compile("/usage/rows/"))
    page.context.close()


def test_zone_of_the_browser_is_offered(browser, seeded):
    page = logged_in(browser, seeded, "operator", timezone_id="Asia/Kathmandu")
    page.goto("/display/")
    assert page.locator("#zone optgroup").first.get_attribute("label") == "This browser's"
    page.select_option("#zone", "Asia/Kathmandu")
    page.locator("form", has=page.locator("#zone")).locator("button").click()
    page.wait_for_url(re.compile(r"^[^?]*/usage/$"))
    assert "Asia/Kathmandu" in page.inner_text("header")
    page.context.close()


def test_showback_is_read_and_printed_without_scripts(browser, seeded, expected):
    page = logged_in(browser, seeded, "operator", java_script_enabled=False)
    page.goto(f"/usage/showback/?{EVER}")
    rows = page.locator("table.showback tbody tr")
    shown = {row.locator("th a").get_attribute("title"): row.locator("td").all_inner_texts() for row in rows.all()}
    for name, sums in expected["by"]["team"].items():
        busy, _, _, turns, *_ = shown[name or "no team"]
        assert (busy, turns) == (f"{round(sums['busy_ms'] / 1000):,}", f"{sums['turns']:,}")
    page.emulate_media(media="print")
    assert page.locator("header nav").is_hidden()
    assert page.locator(".filters").is_hidden()
    assert page.locator("table.showback tfoot").is_visible()
    page.context.close()


def test_filters_are_reached_by_keyboard(browser, seeded):
    page = logged_in(browser, seeded, "operator")
    page.goto("/usage/?range=30d")
    page.keyboard.press("Tab")
    assert page.evaluate("document.activeElement.className") == "skip"
    page.keyboard.press("Enter")
    for _ in range(20):
        page.keyboard.press("Tab")
        if page.evaluate("document.activeElement.name") == "status":
            break
    page.keyboard.type("error")
    page.keyboard.press("Enter")
    page.focus("main form button")
    page.keyboard.press("Enter")
    page.wait_for_url(re.compile("status=error"))
    page.context.close()


def cookies(seeded):
    """Of somebody who has logged in."""
    code = (
        "from django.contrib.auth import BACKEND_SESSION_KEY, HASH_SESSION_KEY, SESSION_KEY\n"
        "from django.contrib.auth.models import User\n"
        "from django.contrib.sessions.backends.db import SessionStore\n"
        "user, session = User.objects.get(username='operator'), SessionStore()\n"
        "session[SESSION_KEY], session[HASH_SESSION_KEY] = str(user.pk), user.get_session_auth_hash()\n"
        "session[BACKEND_SESSION_KEY] = 'django.contrib.auth.backends.ModelBackend'\n"
        "session.create()\nprint(session.session_key)"
    )
    return f"sessionid={django(seeded.data_dir, code)}"


def open_export(seeded, cookie, path, *, slow=False):
    """A client that has asked; a slow one has no room for an answer that it does not read."""
    client = socket.create_connection(("127.0.0.1", seeded.port), 30)
    if slow:
        client.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
    client.sendall(f"GET {path} HTTP/1.1\r\nhost: 127.0.0.1\r\ncookie: {cookie}\r\nconnection: close\r\n\r\n".encode())
    return client


def whole(client):
    client.settimeout(60)
    with client, client.makefile("rb") as file:
        head, _, body = file.read().partition(b"\r\n\r\n")
    assert b" 200 " in head.splitlines()[0]
    pieces, rest = [], body
    while rest:
        size, _, rest = rest.partition(b"\r\n")
        pieces.append(rest[: int(size, 16)])
        rest = rest[int(size, 16) + 2 :]
    return b"".join(pieces).decode()


def test_exports_are_whole(seeded, expected):
    cookie = cookies(seeded)
    rows = list(csv.DictReader(io.StringIO(whole(open_export(seeded, cookie, "/usage/export.csv")))))
    assert len(rows) == expected["rows"]
    assert sum(int(row["count"]) for row in rows) == expected["total"]["turns"]
    told = json.loads(whole(open_export(seeded, cookie, "/usage/export.json?status=error")))
    assert sum(row["count"] for row in told) == expected["total"]["failed"]


def test_export_takes_little_memory_and_ends(seeded):
    cookie = cookies(seeded)
    pid = seeded.processes[0].pid
    # What any export needs once; not the whole, as a process keeps the memory of what it has gathered.
    whole(open_export(seeded, cookie, "/usage/export.csv?status=error"))
    forget_peak(pid)
    before = memory(pid)[0]
    whole(open_export(seeded, cookie, "/usage/export.csv"))
    assert 0 < peak_bytes(pid) - before < 20 << 20
    clients = [open_export(seeded, cookie, "/usage/export.json", slow=True) for _ in range(3)]
    for client in clients:
        assert client.recv(4096)
    for client in clients:
        client.close()

    def answers():
        # All three places of pages were taken; they are free when the exports have ended.
        with open_export(seeded, cookie, "/usage/rows/") as client:
            client.settimeout(5)
            return client.recv(64).startswith(b"HTTP/1.1 200")

    assert until(answers, 10)
