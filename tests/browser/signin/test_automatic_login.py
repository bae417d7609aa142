"""Logins by themselves: a real Chromium on the simulator's pages, with all that can be in the way."""

import os

import pytest
from asgiref.sync import sync_to_async
from django.utils import timezone

from bridge.fleet import attempts
from bridge.models import SignInPage
from bridge.status.attempts import AttemptReason
from tests.bridge.signin.attempts import login, ran, running, settings, until
from tests.browser.conftest import CHROMIUM

pytestmark = [
    pytest.mark.django_db(transaction=True),
    pytest.mark.skipif(CHROMIUM is None, reason="no Chromium is installed on this machine"),
]
PASSWORD = b"ann@example.com\nsimulated\n"


@pytest.fixture
def options(redis_server, tmp_path):
    def options(*arguments, **more):
        more = {"browser": CHROMIUM, "unknown_sec": 1.5, "person_sec": 60.0} | more
        return settings(redis_server, tmp_path / "logins", *arguments, **more)

    return options


async def test_password_is_sent_and_login_stored(options, tmp_path):
    found = await login("automatic", PASSWORD)
    attempt = await ran(found, options("--sign-in=password"))
    assert (attempt.result, attempt.detail, attempt.screenshot) == ("logged_in", "", None)
    assert b"ann@example.com" in found.bundle.read()
    assert list((tmp_path / "logins").iterdir()) == []


async def test_page_with_a_link_is_followed(options):
    found = await login("automatic", PASSWORD)
    assert (await ran(found, options())).result == "logged_in"


async def test_slow_page_is_waited_for(options):
    found = await login("automatic", PASSWORD)
    attempt = await ran(found, options("--sign-in=password", "--sign-in-ms=2500"))
    assert (attempt.result, found.generation) == ("logged_in", 1)


async def test_page_that_is_too_slow_is_given_up(options):
    found = await login("automatic", PASSWORD)
    attempt = await ran(found, options("--sign-in=password", "--sign-in-ms=60000", browser_sec=3.0))
    assert (attempt.result, found.generation) == ("page_slow", 0)


@pytest.mark.parametrize(
    ("argument", "credentials", "result"),
    [
        ("--sign-in=password", b"ann\nwrong-secret", "wrong_password"),
        ("--sign-in=changed", PASSWORD, "unknown_page"),
    ],
)
async def test_failures_have_a_picture(options, argument, credentials, result):
    found = await login("automatic", credentials)
    attempt = await ran(found, options(argument))
    assert (attempt.state, attempt.result, found.generation) == ("failed", result, 0)
    assert attempt.screenshot.read().startswith(b"\x89PNG")
    assert b"\x89PNG" not in attempt.screenshot.token
    assert "wrong-secret" not in attempt.detail


@pytest.mark.parametrize(
    ("argument", "words", "result"),
    [
        ("--sign-in=captcha", "somebody is human", "captcha"),
        ("--sign-in=second_factor", "second factor", "second_factor"),
    ],
)
async def test_question_of_a_page_is_left_to_somebody(options, argument, words, result):
    found = await login("automatic", PASSWORD)
    async with running(found, options(argument)):
        attempt = await until(found, lambda each: each.url)
        assert (attempt.state, words in attempt.detail) == ("needs_person", True)
        # Somebody does it in a browser of their own, and pastes where that has ended.
        state = attempt.url.partition("state=")[2].partition("&")[0]
        await sync_to_async(attempts.paste)(
            attempt, f"http://127.0.0.1:37510/auth/callback?state={state}&auth=a&token=t"
        )
    attempt = await until(found, lambda each: each.ended_at)
    assert (attempt.result, found.generation) == ("logged_in", 1)
    if result == "captcha":
        late = await ran(found, options(argument, person_sec=0.5))
        assert (late.result, late.screenshot is None) == (result, False)


async def test_failures_by_itself_are_counted_and_paused(options):
    found = await login("automatic", b"ann\nwrong", failures=1)
    await ran(found, options("--sign-in=password"), reason=AttemptReason.LOST)
    assert found.failures == 2
    assert timezone.timedelta(minutes=19) < found.retry_at - timezone.now() < timezone.timedelta(minutes=20)
    await ran(found, options("--sign-in=password"))
    assert (found.failures, found.retry_at) == (0, None)


async def test_password_is_not_sent_for_ever(options):
    """What usually passes by itself does not where the page has had the password each time."""
    found = await login("automatic", PASSWORD, failures=2)
    run = options("--sign-in=password", "--auth-status=5", answer_sec=3.0)
    assert (await ran(found, run, reason=AttemptReason.LOST)).result == "unreachable"
    assert found.failures == 3


async def test_places_on_the_page_can_be_changed(options):
    found = await login("automatic", PASSWORD)
    await SignInPage.objects.aupdate_or_create(
        pk=1, defaults={"password_fields": "#elsewhere", "user_fields": "#nowhere"}
    )
    assert (await ran(found, options("--sign-in=password"))).result == "unknown_page"
    await SignInPage.objects.filter(pk=1).aupdate(password_fields="#elsewhere\n#password", user_fields="")
    assert (await ran(found, options("--sign-in=password"))).result == "logged_in"


@pytest.mark.parametrize(("browser", "result"), [("/bin/false", "no_browser"), ("no-such-browser", "no_browser")])
async def test_browser_that_does_not_start_is_an_answer(options, browser, result):
    found = await login("automatic", PASSWORD)
    assert (await ran(found, options("--sign-in=password", browser=browser))).result == result


async def test_browser_leaves_no_files_behind(options, tmp_path):
    before = set(os.listdir("/tmp"))
    found = await login("automatic", PASSWORD)
    await ran(found, options("--sign-in=changed"))
    left = [name for name in set(os.listdir("/tmp")) - before if "playwright" in name or "chromium" in name.lower()]
    assert left == []
    assert list((tmp_path / "logins").iterdir()) == []
