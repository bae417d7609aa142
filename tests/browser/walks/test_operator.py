"""An operator makes a team and a key, sees it used and refused, and ends it, in a browser; the audit log has it all."""

from datetime import UTC, datetime, timedelta

from accounts.models import LIMITS
from tests.browser.walks.steps import SECRET, Walk, audit_path, check_refusal, rows_of, sentence_of, shows, trail
from tests.e2e.installation import until

BUDGETS = {"requests_day": 5000, "tokens_month": 9_000_000}


def test_operator_walks_in_a_browser(log_in, whole):
    walk = Walk(log_in("olga"), whole)
    walk.make_team("Walked", rpm=5000)
    walk.make_key("walked-key", "Walked", expires_after_days=30, **BUDGETS)
    walk.set = dict(BUDGETS)
    walk.serves()
    refused = {reason: walk.hit(reason, **{reason: 1}) for reason in LIMITS}
    refused["model"] = walk.hit("model", allowed_models="qwen*")
    refused["network"] = walk.hit("network", allowed_networks="203.0.113.0/24")
    refused["expired"] = expire(walk)
    check_what_is_seen(walk, log_in(java_script_enabled=False), refused)
    pause_and_resume(walk)
    rotate_and_revoke(walk)
    audited = walk.page.request.get(audit_path(walk, "olga")).json()
    assert trail(walk, audited, "console", **dict.fromkeys(LIMITS, "1"), allowed_models="qwen*") == [
        "created", "paused", "resumed", "rotated", "rotated", "revoked",
    ]  # fmt: skip
    walk.page.goto("/admin/accounts/auditentry/?q=walked-key")
    assert "requests per minute: 0 → 1" in walk.page.inner_text("#changelist")


def expire(walk):
    end = datetime.now(UTC) + timedelta(seconds=4)
    return walk.hit("expired", expires_at_0=f"{end:%Y-%m-%d}", expires_at_1=f"{end:%H:%M:%S}")


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
