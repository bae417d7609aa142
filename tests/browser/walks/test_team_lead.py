"""The lead of a team has a key of it from the first day to the last, in a browser, and meets nothing of other teams."""

from tests.browser.walks.steps import PAUSE, SECRET, Walk, check_refusal, sentence_of, shows
from tests.e2e.installation import django, until

FOREIGN = """
from accounts.keys import services
from accounts.models import ApiKey, Team
services.create(ApiKey(name="foreign-key", team=Team.objects.get(name="Other")))
"""
PAGES = ("/usage/", "/usage/rows/", "/admin/", "/admin/accounts/apikey/", "/admin/accounts/team/")


def test_lead_walks_with_a_key(log_in, whole):
    django(whole.directory, FOREIGN)
    walk = Walk(log_in("leo"), whole)
    walk.make_key("lead-key", "Own", requests_day=5000)
    walk.set = {"requests_day": 5000}
    walk.serves()
    for reason, fields in (
        ("rpm", {"rpm": 1}), ("tokens_day", {"tokens_day": 1}), ("model", {"allowed_models": "qwen*"}),
    ):  # fmt: skip
        walk.change(**fields)
        answer = walk.refusal()
        check_refusal(answer, reason)
        assert shows(walk.page, f"/usage/r/{answer.headers['x-request-id']}", sentence_of(reason))
    walk.change()
    walk.serves()
    end(walk)
    for path in PAGES:
        walk.page.goto(path)
        text = walk.page.inner_text("body")
        assert "foreign-key" not in text
        assert "Other" not in walk.page.locator("main").inner_text().split()
    walk.page.goto("/usage/?range=1h")
    assert "lead-key" in walk.page.inner_text("main")


def end(walk):
    """It is paused, resumed, rotated with grace, and revoked."""
    walk.press("pause")
    check_refusal(walk.refusal(), "paused")
    walk.press("resume")
    walk.serves()
    old, walk.secret = walk.secret, SECRET.search(walk.press("rotate", "in a day"))[0]
    assert until(lambda: (walk.status(), walk.status(old)) == (200, 200), every=PAUSE)
    walk.press("revoke")
    assert until(lambda: (walk.status(), walk.status(old)) == (401, 401), every=PAUSE)
