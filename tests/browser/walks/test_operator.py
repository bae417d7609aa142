"""An operator makes a team and a key, sees it used and refused, and ends it, in a browser; the audit log has it all."""

from datetime import UTC, datetime, timedelta
from itertools import pairwise

from accounts.models import LIMITS
from tests.browser.walks.steps import SECRET, Walk, check_refusal, sentence_of, shows
from tests.e2e.installation import until

BUDGETS = {"requests_day": 5000, "tokens_month": 9_000_000}


def test_operator_walks_in_a_browser(log_in, whole):
    walk = Walk(log_in("olga"), whole)
    walk.make_team("Walked", rpm=5000)
    walk.make_key("walked-key", "Walked", expires_after_days=30, **BUDGETS)
    walk.set = dict(BUDGETS)
    walk.serves()
    refused = {reason: hit(walk, reason) for reason in LIMITS}
    refused["model"] = refused_after(walk, "model", allowed_models="qwen*")
    refused["network"] = refused_after(walk, "network", allowed_networks="203.0.113.0/24")
    refused["expired"] = expire(walk)
    check_what_is_seen(walk, log_in(java_script_enabled=False), refused)
    pause_and_resume(walk)
    rotate_and_revoke(walk)
    assert [action for action in audited(walk) if action != "changed"] == [
        "created", "paused", "resumed", "rotated", "rotated", "revoked",
    ]  # fmt: skip


def hit(walk, limit):
    """Of each limit one is allowed, and one is used already."""
    walk.change(**{limit: 1})
    with walk.held(limit):
        answer = walk.refusal()
    check_refusal(answer, limit)
    return answer.headers["x-request-id"]


def refused_after(walk, reason, **fields):
    walk.change(**fields)
    answer = walk.refusal()
    check_refusal(answer, reason)
    return answer.headers["x-request-id"]


def expire(walk):
    end = datetime.now(UTC) + timedelta(seconds=4)
    walk.change(expires_at_0=f"{end:%Y-%m-%d}", expires_at_1=f"{end:%H:%M:%S}")
    answer = walk.refusal()
    check_refusal(answer, "expired")
    return answer.headers["x-request-id"]


def check_what_is_seen(walk, holder, refused):
    """By the operator and by the holder of the key, reason by reason."""
    for reason, request_id in refused.items():
        assert shows(walk.page, f"/usage/r/{request_id}", sentence_of(reason), request_id)
    walk.page.goto(f"/usage/?key={walk.key_id}&range=1h")
    assert {row[0] for row in rows_of(walk.page, "by-reason")} >= set(refused)
    holder.goto("/me/")
    assert "The key has expired." in pasted(holder, walk.secret)
    walk.change()
    walk.serves()
    told = pasted(holder, walk.secret)
    assert "First request seen" in told
    assert [reason for reason in refused if sentence_of(reason) not in told] == []


def pasted(page, secret):
    """What the page says to a key."""
    page.fill("#key", secret)
    with page.expect_navigation():
        page.click("main button")
    return page.inner_text("main")


def rows_of(page, section):
    rows = page.locator(f"section[aria-labelledby={section}] tbody tr").all()
    return [[cell.strip() for cell in row.locator("th, td").all_inner_texts()] for row in rows]


def pause_and_resume(walk):
    walk.press("pause")
    check_refusal(walk.refusal(), "paused")
    walk.press("resume")
    walk.serves()


def rotate_and_revoke(walk):
    old = walk.secret
    walk.secret = SECRET.search(walk.press("rotate", "in an hour"))[0]
    until(lambda: walk.status() == 200)
    assert walk.status(old) == 200
    middle = walk.secret
    walk.secret = SECRET.search(walk.press("rotate", "at once"))[0]
    until(lambda: (walk.status(), walk.status(middle), walk.status(old)) == (200, 401, 401))
    walk.press("revoke")
    check_refusal(walk.refusal(), "revoked")


def audited(walk):
    """The actions in the audit log. Each step is a row with before → after, and says who; the console shows them."""
    path = f"/api/audit/?object_type=accounts.apikey&object_id={walk.key_id}&page_size=200"
    rows = [row for row in walk.page.request.get(path).json()["results"][::-1] if row["actor"] == "olga"]
    assert {row["source"] for row in rows} == {"console"}
    for name, value in {**dict.fromkeys(LIMITS, "1"), "allowed_models": "qwen*"}.items():
        changes = [row["changes"][name] for row in rows if name in row["changes"]]
        assert value in [after for _, after in changes], (name, changes)
        assert all(one[1] == other[0] for one, other in pairwise(changes)), (name, changes)
    assert walk.secret not in str(rows)
    walk.page.goto("/admin/accounts/auditentry/?q=walked-key")
    told = walk.page.inner_text("#changelist")
    assert "requests per minute: 0 → 1" in told
    return [row["action"] for row in rows]
