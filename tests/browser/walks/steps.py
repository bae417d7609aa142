"""What people do with a key, in the console and at `/v1`; and what they are shown of it."""

import re
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta
from itertools import pairwise

from accounts.explain.sentences import LIMITS, REASONS
from accounts.models import LIMITS as NUMBERS
from tests.e2e.formats import OPENAI, Stream, send
from tests.e2e.installation import until

SECRET = re.compile(r"lgw_[A-Za-z0-9_-]{20,}")
KEYS, TEAMS = "/admin/accounts/apikey/", "/admin/accounts/team/"
HELD = '[[sim: text="slow answer" chunks=2 delay_ms=60000]] x'
PAUSE = 0.3
"""Between two requests that wait for a change: key holders see the last fifty."""
ASKED = '[[sim: text=hello usage="3,2"]] x'


class Walk:
    """Somebody with a browser who has a key in hand."""

    def __init__(self, page, whole):
        self.page, self.whole, self.set = page, whole, {}
        self.secret = self.address = self.key_id = ""

    def save(self, address, button, **fields):
        """Fill in a form of the console and send it; the answer."""
        if not self.page.url.endswith(address):
            self.page.goto(address)
        for name, value in fields.items():
            self.page.fill(f"input[name={name}]", str(value))
        with self.page.expect_navigation():
            self.page.click(f"button[name={button}]")
        return self.page.content()

    def make_team(self, name, **fields):
        self.save(f"{TEAMS}add/", "_save", name=name, **fields)
        assert self.page.url.endswith(TEAMS)

    def make_key(self, name, team, **fields):
        """A new key of a team; it is shown once."""
        self.page.goto(f"{KEYS}add/")
        self.choose_team(team)
        self.secret = SECRET.search(self.save(f"{KEYS}add/", "_save", name=name, **fields))[0]
        self.page.goto(f"{KEYS}?q={name}")
        assert self.secret not in self.page.content()
        self.page.get_by_role("link", name=name).first.click()
        self.page.wait_for_url(re.compile("/change/"))
        self.address = re.search(r"/admin/.*/change/", self.page.url)[0]
        self.key_id = int(re.search(r"/(\d+)/change/", self.address)[1])

    def choose_team(self, team):
        """By the list of suggestions, as a person does."""
        self.page.click("#id_team + .select2 .select2-selection")
        self.page.fill(".select2-search__field", team)
        self.page.locator(".select2-results__option", has_text=team).first.click()

    def change(self, **fields):
        """Set these, and take off what was set before."""
        before = dict.fromkeys(self.set, "")
        self.save(self.address, "_continue", **before | fields)
        assert "was changed successfully" in self.page.content()
        self.set = fields

    def press(self, what, choose="", hint=""):
        """A button on the page of the key, and the one that says the same on the next."""
        self.page.goto(self.address)
        self.page.locator(f"a[href$='/{what}/']:visible").first.click()
        self.page.wait_for_url(re.compile(f"/{what}/$"))
        if choose:
            self.page.get_by_label(choose).check()
        with self.page.expect_navigation():
            self.page.get_by_role("button", name=what.title(), exact=True).click()
        return self.page.content()

    def ask(self, secret="", **more):
        body = OPENAI.body(ASKED, **more)
        return send(self.whole, "POST", OPENAI.path, key=secret or self.secret, body=body)

    def status(self, secret=""):
        return self.ask(secret).status

    def serves(self):
        """Wait until the key is taken again."""
        assert until(lambda: self.status() == 200, every=PAUSE)

    def refusal(self):
        """The first answer that is a refusal; changes come to the web process by Redis."""
        return until(lambda: (answer := self.ask()).status != 200 and answer, every=PAUSE)

    def hit(self, reason, **fields):
        """Set these, and ask until that is why a request is refused; its id."""
        self.change(**fields)
        with self.held(reason):
            answer = self.refusal()
        check_refusal(answer, reason)
        return answer.headers["x-request-id"]

    @contextmanager
    def held(self, name):
        """While a turn of the key runs, where that is what is limited."""
        if name != "concurrency":
            yield
            return
        with Stream(self.whole, OPENAI, HELD, key=self.secret) as stream:
            stream.until(b"slow")
            yield


UNSET = {"allowed_models": [], "allowed_networks": [], "expires_at": None}


class Program(Walk):
    """Somebody who has a token, and never a browser."""

    def __init__(self, whole, token):
        super().__init__(None, whole)
        self._headers = {"authorization": f"Token {token}"}

    def answer(self, method, path, body=None):
        return send(self.whole, method, path, body=body, headers=self._headers)

    def call(self, method, path, body=None):
        answer = self.answer(method, f"/api/{path}", body)
        assert answer.status < 300, answer
        return answer.json()

    def make_key(self, name, team, **fields):
        made = self.call("POST", "keys/", {"name": name, "team": team, **fields})
        self.secret, self.key_id, self.address = made["secret"], made["id"], f"keys/{made['id']}/"
        return made

    def change(self, **fields):
        row = self.call("PATCH", self.address, {name: UNSET.get(name, 0) for name in self.set} | fields)
        assert {name: row[name] for name in fields} == fields
        self.set = fields

    def press(self, what, **body):
        return self.call("POST", f"{self.address}{what}/", body)

    def check_rows(self, refused):
        """The refusals, {reason: request id}, as rows, as sums by reason, and as the key itself is told."""

        def filed():
            rows = self.call("GET", f"usage/?key={self.key_id}&status=refused&range=1h&page_size=200")["results"]
            return {row["request_id"]: row["reason"] for row in rows}

        until(lambda: set(refused.values()) <= set(filed()), every=PAUSE)
        assert {reason: filed()[id_] for reason, id_ in refused.items()} == {each: each for each in refused}
        sums = self.call("GET", f"usage/summary/?key={self.key_id}&range=1h&group_by=reason")["results"]
        assert {row["reason"] for row in sums if row["refused"]} == set(refused)
        told = send(self.whole, "GET", "/v1/usage", key=self.secret).json()
        reasons = {row["reason"]: row["explanation"] for row in told["requests"] if row["status"] == "refused"}
        assert [reason for reason in refused if not reasons[reason].startswith(sentence_of(reason))] == []

    def check_refusals(self, **others):
        """Meet each limit and what else is named, by its fields; then see the rows, and the ends of the key."""
        fields = {**{reason: {reason: 1} for reason in NUMBERS}, **others}
        refused = {reason: self.hit(reason, **each) for reason, each in fields.items()}
        end = datetime.now(UTC) + timedelta(seconds=3)
        refused["expired"] = self.hit("expired", expires_at=end.strftime("%Y-%m-%dT%H:%M:%S.%fZ"))
        self.change()
        self.serves()
        self.check_rows(refused)
        self.check_endings()

    def check_endings(self):
        self.press("pause", reason="holiday")
        check_refusal(self.refusal(), "paused")
        self.press("resume")
        self.serves()
        old, self.secret = self.secret, self.press("rotate", grace="10s")["secret"]
        assert until(lambda: (self.status(), self.status(old)) == (200, 200), every=PAUSE)
        assert until(lambda: (self.status(), self.status(old)) == (200, 401), every=PAUSE)
        assert self.press("revoke")["state"] == "revoked"
        check_refusal(self.refusal(), "revoked")


def audit_path(walk, actor):
    """Where the audit log has what somebody did to the key of a walk."""
    return f"/api/audit/?object_type=accounts.apikey&object_id={walk.key_id}&actor={actor}&page_size=200"


def trail(walk, audited, source, **values):
    """The actions that an answer of the audit log has, but for "changed", the earliest first.

    Each step is a row with before → after. These values were set at some time.
    """
    rows = audited["results"][::-1]
    assert {row["source"] for row in rows} == {source}
    for name, value in values.items():
        changes = [row["changes"][name] for row in rows if name in row["changes"]]
        assert value in [after for _, after in changes], (name, changes)
        assert all(one[1] == other[0] for one, other in pairwise(changes)), (name, changes)
    assert walk.secret not in str(rows)
    return [row["action"] for row in rows if row["action"] != "changed"]


def rows_of(page, section):
    rows = page.locator(f"section[aria-labelledby={section}] tbody tr").all()
    return [[cell.strip() for cell in row.locator("th, td").all_inner_texts()] for row in rows]


def sentence_of(reason, scope="key"):
    """The beginning of what is said of a reason, up to its first value."""
    if reason in LIMITS:
        return f"The limit of the {scope} is reached: {LIMITS[reason]}"
    return REASONS[reason][0].partition("%(")[0]


def check_refusal(answer, reason, scope="key"):
    """What the caller learns: status, message, and when to come again."""
    if reason not in LIMITS:
        assert answer.status in (401, 403), answer
        return
    assert answer.status == 429
    owner = "this API key's team" if scope == "team" else "this API key"
    assert (
        f"The limit {reason} of {owner} is reached: 1 {LIMITS[reason].replace('s ', ' ', 1)}" in answer.error["message"]
    )
    assert int(answer.headers["retry-after"]) >= 1
    kind = "tokens" if reason.startswith("t") else "requests"
    if reason != "concurrency":
        assert answer.headers[f"x-ratelimit-limit-{kind}"] == "1"
        assert answer.headers[f"x-ratelimit-remaining-{kind}"] == "0"


def shows(page, path, *texts):
    """Open a page until it shows all of these: rows are filed within seconds."""

    def found():
        page.goto(path)
        content = page.inner_text("main")
        return all(text in content for text in texts)

    return until(found, every=0.5)
