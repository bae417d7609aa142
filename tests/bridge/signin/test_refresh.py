"""Logins that are made again by themselves, and what a new login may take the place of."""

import asyncio
import time
from datetime import timedelta

import pytest
from asgiref.sync import sync_to_async
from django.utils import timezone

from bridge.fleet import attempts, login_refresh
from bridge.fleet.attempt_lease import AttemptLease
from bridge.fleet.attempt_store import AttemptStore
from bridge.fleet.logins import import_bundle
from bridge.logins.bundle import of_two
from bridge.models import Login, LoginAttempt, LoginRefresh
from bridge.models.attempt import KEPT
from bridge.signin import runner
from bridge.status.attempts import AttemptReason, AttemptResult
from bridge.status.logins import LoginKind
from tests.bridge.logins.files import user_file
from tests.bridge.signin.attempts import attempt_of, begin, login, ran, running, until
from tests.bridge.signin.attempts import settings as options_of

pytestmark = pytest.mark.django_db(transaction=True)
TIMES = {"lead_days": 7.0, "period_days": 0.0, "jitter_hours": 0.0}
begin_due = sync_to_async(login_refresh.begin_due)
look_after = sync_to_async(attempts.look_after)


@pytest.fixture
def redis_away(settings):
    """A Redis that is not there."""
    settings.REDIS_URL = "redis://127.0.0.1:1/0"


@pytest.fixture
def options(redis_server, tmp_path):
    def options(*arguments, **more):
        return options_of(redis_server, tmp_path / "logins", *arguments, **more)

    return options


def due(days=3.0, **more):
    """A login that ends within days, and needs no person."""
    ends = timezone.now() + timedelta(days=days)
    return login("personal_token", b"token", generation=1, account="logged_in", expires_at=ends, **more)


async def run_open(found, options):
    attempt = await attempt_of(found)
    await runner.run(attempt.pk, AttemptStore(), options)
    await attempt.arefresh_from_db()
    await found.arefresh_from_db()
    return attempt


async def test_times_of_all_logins_hold_at_once(options):
    found = await due()
    await LoginRefresh.objects.aupdate_or_create(pk=LoginRefresh.ONLY, defaults={"lead_days": 1.0})
    await begin_due(TIMES)
    assert not await LoginAttempt.objects.aexists()
    found.lead_days = 5.0
    await found.asave(update_fields=["lead_days"])
    await begin_due(TIMES)
    assert (await attempt_of(found)).reason == AttemptReason.SCHEDULE


async def test_login_that_ends_soon_is_made_again(options):
    found = await due()
    before = found.expires_at
    await begin_due(TIMES)
    await begin_due(TIMES)
    attempt = await run_open(found, options())
    assert (attempt.reason, attempt.result, found.generation) == ("schedule", "logged_in", 2)
    assert found.expires_at > before + timedelta(days=50)
    await begin_due(TIMES)
    assert await LoginAttempt.objects.acount() == 1


async def test_lost_login_is_made_again_at_once(options):
    found = await due(days=30, label="lost")
    await due(days=30, label="good")
    await Login.objects.filter(pk=found.pk).aupdate(account="logged_out")
    await begin_due(TIMES)
    assert [each.login_id async for each in LoginAttempt.objects.all()] == [found.pk]
    assert (await run_open(found, options())).reason == "lost"
    assert found.account == "logged_in"


async def test_login_has_times_of_its_own():
    found = await due(days=20, label="own", lead_days=25.0)
    await due(days=20, label="default")
    await begin_due(TIMES)
    assert [each.login_id async for each in LoginAttempt.objects.all()] == [found.pk]


async def test_refresh_without_a_later_end_fails(options):
    found = await due()
    before = found.expires_at
    await begin_due(TIMES)
    attempt = await run_open(found, options("--token-days=2"))
    assert (attempt.state, attempt.result) == ("failed", "not_later")
    assert (found.generation, found.expires_at, found.failures) == (1, before, 1)
    await begin_due(TIMES)
    assert await LoginAttempt.objects.acount() == 1
    # An operator who wants it gets it.
    assert (await ran(found, options("--token-days=2"))).result == "logged_in"


async def test_trouble_that_passes_never_stops_it(options):
    found = await due()
    for failures in (1, 2, 2):
        await Login.objects.filter(pk=found.pk).aupdate(retry_at=None)
        await begin_due(TIMES)
        attempt = await run_open(found, options("--auth-status=5", answer_sec=0.2))
        assert (attempt.result, attempt.detail) == ("unreachable", "Lingma does not reach its servers")
        assert (found.failures, found.generation) == (failures, 1)
        assert found.retry_at > timezone.now() + timedelta(minutes=4)


@pytest.mark.parametrize(
    ("argument", "more"), [("--finish=500", {}), ("--first-ms=60000", {"chat_sec": 0.5})], ids=["fails", "silent"]
)
async def test_models_that_are_away_never_stop_it(options, argument, more):
    found = await due(failures=2)
    await begin_due(TIMES)
    attempt = await run_open(found, options(argument, **more))
    assert (attempt.result, found.failures, found.generation) == ("chat_away", 2, 1)
    assert attempt.detail


@pytest.mark.parametrize(("sent", "failures"), [(False, 2), (True, 3)])
@pytest.mark.parametrize("result", ["page_slow", "chat_away"])
async def test_password_is_sent_three_times_at_most(result, sent, failures):
    found = await login("automatic", b"k", generation=1, account="expired", failures=2)
    await begin_due(TIMES)
    store = AttemptStore()
    job = await store.claim((await attempt_of(found)).pk)
    await store.end(job, AttemptResult(result), password_sent=sent)
    await found.arefresh_from_db()
    assert found.failures == failures


async def test_import_before_the_claim_stays(options):
    found = await due()
    await begin_due(TIMES)
    await sync_to_async(import_bundle)(found.label, of_two(user_file("bob"), b"machine-2"))
    attempt = await run_open(found, options())
    assert (attempt.state, attempt.result, found.generation) == ("failed", "newer", 2)
    assert b"bob" in found.bundle.read()


async def test_import_during_an_attempt_stays(options):
    found = await login("browser")
    async with running(found, options()):
        attempt = await until(found, lambda each: each.url)
        await sync_to_async(import_bundle)(found.label, of_two(user_file("bob"), b"machine-2"))
        state = attempt.url.partition("state=")[2].partition("&")[0]
        await sync_to_async(attempts.paste)(attempt, f"/auth/callback?state={state}&auth=a&token=t")
    attempt = await until(found, lambda each: each.ended_at)
    assert (attempt.result, found.generation) == ("newer", 1)
    assert b"bob" in found.bundle.read()


async def test_renewal_of_a_service_meanwhile_is_compared(options):
    found, late = await due(), timezone.now() + timedelta(days=90)
    await begin_due(TIMES)
    await Login.objects.filter(pk=found.pk).aupdate(generation=2, expires_at=late)
    assert (await run_open(found, options())).result == "newer"
    await Login.objects.filter(pk=found.pk).aupdate(expires_at=timezone.now() + timedelta(days=1), retry_at=None)
    await begin_due(TIMES)
    await Login.objects.filter(pk=found.pk).aupdate(generation=3)
    assert (await run_open(found, options())).result == "logged_in"
    assert found.generation == 4


async def test_attempt_waits_for_redis_and_nobody_for_it(redis_away):
    found = await due()
    began = time.monotonic()
    attempt, is_new = await begin(found)
    await LoginAttempt.objects.filter(pk=attempt.pk).aupdate(begun_at=timezone.now() - timedelta(minutes=1))
    await look_after()
    assert time.monotonic() - began < 20
    assert (is_new, (await attempt_of(found)).state) == (True, "waiting")


async def test_attempts_that_nobody_runs_are_ended():
    found, other = await due(label="a"), await due(label="b")
    first, _ = await begin(found)
    second, _ = await begin(other)
    long_ago = timezone.now() - timedelta(minutes=3)
    await LoginAttempt.objects.filter(pk=first.pk).aupdate(begun_at=long_ago)
    await LoginAttempt.objects.filter(pk=second.pk).aupdate(state="signing_in", seen_at=long_ago, url="x")
    await look_after()
    assert [(await attempt_of(each)).result for each in (found, other)] == ["no_worker", "worker_ended"]
    assert (await attempt_of(other)).url == ""
    # Whoever runs it all the same hears of it, and another may begin.
    assert await AttemptStore().sign(second.pk) == "failed"
    assert (await begin(found))[1]


async def lost(found, **facts):
    """An attempt that began by itself, and of which nothing was heard for minutes."""
    await Login.objects.filter(pk=found.pk).aupdate(retry_at=None)
    await begin_due(TIMES)
    attempt = await attempt_of(found)
    long_ago = timezone.now() - timedelta(minutes=3)
    await LoginAttempt.objects.filter(pk=attempt.pk).aupdate(begun_at=long_ago, **facts)
    await look_after()
    await look_after()
    await found.arefresh_from_db()
    return attempt


async def test_killed_workers_stop_it_after_three():
    found = await due()
    for failures, least in ((1, 4), (2, 19), (3, 19)):
        await lost(found, state="signing_in", seen_at=timezone.now() - timedelta(minutes=2))
        assert found.failures == failures
        assert found.retry_at > timezone.now() + timedelta(minutes=least)
        await begin_due(TIMES)
        assert await LoginAttempt.objects.acount() == failures
    await Login.objects.filter(pk=found.pk).aupdate(retry_at=None)
    await begin_due(TIMES)
    assert await LoginAttempt.objects.acount() == 3


@pytest.mark.parametrize(
    ("kind", "state", "failures"),
    [("automatic", "signing_in", 1), ("automatic", "starting", 0), ("personal_token", "signing_in", 0)],
)
async def test_worker_stopped_after_password_counts(kind, state, failures):
    found = await login(kind, b"k", generation=1, account="expired")
    await begin_due(TIMES)
    store = AttemptStore()
    job = await store.claim((await attempt_of(found)).pk)
    await store.report(job.attempt, state)
    await store.end(job, AttemptResult.WORKER_ENDED)
    await found.arefresh_from_db()
    assert found.failures == failures


async def test_missing_worker_pauses_and_never_stops():
    found = await due()
    for least, most in ((4, 6), (19, 21), (19, 21), (19, 21)):
        attempt = await lost(found)
        assert timedelta(minutes=least) < found.retry_at - timezone.now() < timedelta(minutes=most)
        assert found.failures == 0
    await begin_due(TIMES)
    assert await LoginAttempt.objects.acount() == 4
    # A worker that comes to what none had taken is there again: nothing waits for it any longer.
    assert await AttemptStore().claim(attempt.pk) is None
    await begin_due(TIMES)
    assert await LoginAttempt.objects.acount() == 5


async def test_history_of_missing_worker_is_bounded():
    found = await due()
    old = timezone.now() - timedelta(days=9)
    await LoginAttempt.objects.abulk_create(
        LoginAttempt(
            login=found, way="ak_sk", reason="schedule", state="failed", generation=1, ended_at=old, begun_at=old
        )
        for _ in range(KEPT + 5)
    )
    await lost(found)
    assert await LoginAttempt.objects.acount() == KEPT


async def test_history_is_bounded_and_pictures_are_forgotten():
    found = await due()
    old = timezone.now() - timedelta(days=9)
    await LoginAttempt.objects.abulk_create(
        LoginAttempt(
            login=found, way="ak_sk", reason="operator", state="failed", generation=1, ended_at=old, begun_at=old
        )
        for _ in range(KEPT + 5)
    )
    attempt, _ = await begin(found, LoginKind.PERSONAL_TOKEN, AttemptReason.OPERATOR)
    store = AttemptStore()
    job = await store.claim(attempt.pk)
    await store.end(job, "refused", screenshot=b"\x89PNG")
    assert await LoginAttempt.objects.acount() == KEPT
    await LoginAttempt.objects.filter(pk=attempt.pk).aupdate(begun_at=old)
    await sync_to_async(attempts.forget_screenshots)(7)
    assert (await attempt_of(found)).screenshot is None


async def test_lease_that_is_cancelled_is_let_go(redis_server):
    """At whatever step of its way to Redis."""
    for steps in range(12):
        lease = AttemptLease(redis_server, 4711, 1, 1)
        holding = asyncio.create_task(lease.hold())
        for _ in range(steps):
            await asyncio.sleep(0)
        holding.cancel()
        await asyncio.wait({holding}, timeout=10)
        assert holding.done()
        assert holding.cancelled() or holding.result()
        await lease.free()
    other = AttemptLease(redis_server, 4711, 1, 2)
    assert await other.hold()
    await other.free()
