"""What people do with a key, in the console and at `/v1`; and what they are shown of it."""

import re
from contextlib import contextmanager

from accounts.explain.sentences import LIMITS, REASONS
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

    @contextmanager
    def held(self, name):
        """While a turn of the key runs, where that is what is limited."""
        if name != "concurrency":
            yield
            return
        with Stream(self.whole, OPENAI, HELD, key=self.secret) as stream:
            stream.until(b"slow")
            yield


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
