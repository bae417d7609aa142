"""Logging in by each way that drives no browser, against real services of their own."""

import asyncio
import json
import re
import time
import urllib.request

import msgspec
import pytest
from asgiref.sync import sync_to_async
from django.core.exceptions import ValidationError

from bridge.fleet import attempts
from bridge.fleet.attempt_store import AttemptStore
from bridge.lingma.errors import LingmaError
from bridge.logins.bundle import Bundle
from bridge.logins.callback import choice_of
from bridge.models import InstanceOrder, LoginAttempt, Version
from tests.bridge.living import alive
from tests.bridge.logins.files import DAY
from tests.bridge.signin.attempts import begin, login, ran, running, settings, until

pytestmark = pytest.mark.django_db(transaction=True)


@pytest.fixture
def options(redis_server, tmp_path):
    def options(*arguments, **more):
        return settings(redis_server, tmp_path / "logins", *arguments, **more)

    return options


def user_of(login):
    return json.loads(Bundle.unpacked(login.bundle.read()).files["cache/user"])


def fetch(url):
    with urllib.request.urlopen(url, timeout=30) as answer:
        return answer.read().decode()


async def callback_of(url):
    """Where a browser ends that follows the only link of the login page."""
    page = await asyncio.to_thread(fetch, url)
    return re.search('id="login" href="(.*?)"', page)[1].replace("&amp;", "&")


@pytest.mark.parametrize(
    ("kind", "credentials", "organisation"),
    [("personal_token", b"token-1\nred\n", "red"), ("ak_sk", b"key-1\nsecret-1\n", "")],
)
async def test_login_with_secrets_becomes_a_generation(options, tmp_path, kind, credentials, organisation):
    found = await login(kind, credentials)
    attempt = await ran(found, options())
    assert (attempt.state, attempt.result, attempt.detail) == ("done", "logged_in", "")
    assert (found.generation, found.brought_generation, found.account) == (1, 1, "logged_in")
    assert abs(found.expires_at.timestamp() - time.time() - 60 * DAY) < 600
    assert user_of(found)["org_id"] == organisation
    assert list((tmp_path / "logins").iterdir()) == []


@pytest.mark.parametrize(
    ("kind", "credentials", "result"),
    [
        ("personal_token", b"bad", "refused"),
        ("ak_sk", b"key\nbad", "refused"),
        ("ak_sk", b"only-a-key", "no_credentials"),
    ],
)
async def test_wrong_secrets_change_nothing(options, kind, credentials, result):
    found = await login(kind, credentials)
    attempt = await ran(found, options("--refused-secrets=bad", answer_sec=1.0))
    assert (attempt.state, attempt.result, found.generation) == ("failed", result, 0)
    assert "bad" not in attempt.detail


async def test_device_login_takes_tokens_once(options):
    found = await login("device")
    later = int((time.time() + DAY) * 1000)
    tokens = {"token": "pt-1", "refreshToken": "rt-1", "id": "42", "name": "ann", "expireTime": later}
    attempt = await ran(found, options("--renewal=never"), pasted=json.dumps(tokens).encode())
    assert (attempt.result, attempt.pasted) == ("logged_in", None)
    assert user_of(found)["uid"] == "42"
    assert found.expires_at.timestamp() == later / 1000
    with pytest.raises(ValidationError, match="missing"):
        await begin(found, pasted=b'{"token": "pt-1"}')


async def test_browser_that_reaches_the_service_logs_in(options):
    found = await login()
    async with running(found, options()):
        attempt = await until(found, lambda each: each.url)
        assert attempt.state == "needs_person"
        callback = await callback_of(attempt.url)
        await asyncio.to_thread(fetch, attempt.url.partition("/lingma")[0] + callback)
    attempt = await until(found, lambda each: each.ended_at)
    assert (attempt.result, attempt.url, found.generation) == ("logged_in", "", 1)


async def test_pasted_callback_logs_in_and_is_forgotten(options):
    found = await login()
    async with running(found, options()):
        attempt = await until(found, lambda each: each.url)
        for wrong in ("hello", "http://127.0.0.1:1/admin/?x=1", "http://127.0.0.1:1/auth/callback"):
            with pytest.raises(ValidationError):
                await sync_to_async(attempts.paste)(attempt, wrong)
        await sync_to_async(attempts.paste)(attempt, "http://127.0.0.1:37510/auth/callback?state=x&auth=a&token=t")
        await until(found, lambda each: "did not take" in each.detail)
        await sync_to_async(attempts.paste)(attempt, f"http://127.0.0.1:37510{await callback_of(attempt.url)}")
    attempt = await until(found, lambda each: each.ended_at)
    assert (attempt.result, attempt.detail, attempt.pasted) == ("logged_in", "", None)


@pytest.mark.parametrize("is_first", [True, False], ids=["right one first", "wrong one first"])
async def test_addresses_pasted_at_once_are_tried(options, is_first):
    found = await login()
    async with running(found, options()):
        attempt = await until(found, lambda each: each.url)
        right, wrong = await callback_of(attempt.url), "/auth/callback?state=x&auth=a&token=t"
        for each in (right, wrong) if is_first else (wrong, right, right):
            await sync_to_async(attempts.paste)(attempt, each)
    attempt = await until(found, lambda each: each.ended_at)
    assert (attempt.result, attempt.pasted) == ("logged_in", None)


async def test_waiting_addresses_are_few_and_kept(options):
    found = await login()
    attempt, _ = await begin(found)
    store, paste = AttemptStore(), sync_to_async(attempts.paste)
    await store.claim(attempt.pk)
    await store.report(attempt.pk, "needs_person", "https://example.com/")
    targets = [f"/auth/callback?state={number}" for number in range(attempts.MOST_PASTED)]
    for target in targets:
        await paste(attempt, target)
    with pytest.raises(ValidationError, match="Several addresses wait"):
        await paste(attempt, "/auth/callback?state=more")
    await paste(attempt, targets[0])
    assert await store.take_pasted(attempt.pk) == [*targets[1:], targets[0]]
    assert await store.take_pasted(attempt.pk) == []


async def test_account_of_several_organisations_chooses(options):
    found = await login()
    names = [f"{number:024x}" for number in range(6)]
    async with running(found, options(f"--organizations={','.join(names)}")):
        attempt = await until(found, lambda each: each.url)
        await sync_to_async(attempts.paste)(attempt, await callback_of(attempt.url))
        chosen = await until(found, lambda each: f"organizationId={names[0]} or" in each.detail)
        assert chosen.detail.endswith(f"{names[4]}, {names[5]}")
        await sync_to_async(attempts.paste)(chosen, f"/auth/loginWithOrganization?organizationId={names[5]}")
    assert user_of(found)["org_name"] == names[5]


@pytest.mark.parametrize(("length", "shown"), [(3, 20), (36, 4), (200, 1)])
def test_organisations_are_told_whole(length, shown):
    names = [f"{number:0{length}}" for number in range(20)]
    said = choice_of(names)
    assert len(said) <= LoginAttempt._meta.get_field("detail").max_length
    assert [name for name in names if name in said] == names[:shown]
    assert said.endswith("more)") is (shown < len(names))


@pytest.mark.parametrize(
    ("default", "ordered", "wanted"),
    [
        (None, [], None), ("2.9.0", [], "2.9.0"), ("2.9.0", [None], "2.9.0"), ("2.9.0", ["2.11.1"], "2.11.1"),
        ("2.9.0", ["2.11.1", None], "2.9.0"), ("2.9.0", ["2.11.1", None, "2.11.1"], "2.11.1"),
        (None, ["2.11.1", None], None),
    ],
)  # fmt: skip
async def test_login_is_made_by_its_instances_version(options, tmp_path, default, ordered, wanted):
    rows = {
        name: await Version.objects.acreate(version=name, is_default=name == default, executables={})
        for name in ("2.9.0", "2.11.1")
    }
    found = await login("personal_token", b"token")
    for number, name in enumerate(ordered):
        await InstanceOrder.objects.acreate(name=f"w1-i{number}", login=found, version=rows.get(name))
    await InstanceOrder.objects.acreate(name="of-another-login", version=rows["2.11.1"])
    started = []

    def refusing(_place, version):
        started.append(version and version.version)
        raise LingmaError("not here")

    attempt = await ran(found, msgspec.structs.replace(options(), spec=refusing))
    assert (started, attempt.result) == ([wanted], "no_program")


async def test_absence_of_a_person_is_a_result(options):
    found = await login()
    attempt = await ran(found, options(person_sec=1.0))
    assert (attempt.state, attempt.result, attempt.url) == ("failed", "nobody_came", "")


async def test_account_that_may_not_chat_is_not_stored(options):
    found = await login("personal_token", b"token")
    attempt = await ran(found, options("--whitelist=5"))
    assert (attempt.result, attempt.detail, found.generation) == ("account", "the account has no licence", 0)


async def test_login_that_cannot_chat_is_not_stored(options):
    found = await login("personal_token", b"token")
    attempt = await ran(found, options("--finish=403"))
    assert (attempt.result, found.generation) == ("chat_failed", 0)
    assert attempt.detail


@pytest.mark.parametrize("finish", [112, 429])
async def test_login_without_plan_or_place_is_stored(options, finish):
    found = await login("personal_token", b"token")
    attempt = await ran(found, options(f"--finish={finish}"))
    assert (attempt.result, found.generation, found.account) == ("logged_in", 1, "logged_in")


async def test_program_that_does_not_start_is_an_answer(options):
    found = await login("personal_token", b"token")
    attempt = await ran(found, options("--start-fails"))
    assert (attempt.result, attempt.detail) == ("not_started", "the program exited with code 1")


async def test_cancelled_attempt_ends_its_service(options, tmp_path):
    found = await login()
    async with running(found, options()):
        attempt = await until(found, lambda each: each.url)
        pid = json.loads((tmp_path / "logins" / str(attempt.pk) / ".info.json").read_text())["pid"]
        assert alive(pid)
        assert await sync_to_async(attempts.cancel)(attempt)
    attempt = await until(found, lambda each: each.ended_at)
    assert (attempt.state, attempt.result, found.generation) == ("cancelled", "cancelled", 0)
    assert not alive(pid)
    assert list((tmp_path / "logins").iterdir()) == []


@pytest.mark.parametrize(
    ("kind", "given"),
    [
        ("personal_token", b"word-1"),
        ("ak_sk", b"key\nword-1"),
        ("automatic", b"ann\nword-1"),
        ("device", b'{"token": "word-1", "refreshToken": "word-1-too", "userId": "42"}'),
    ],
)
async def test_secrets_that_are_repeated_are_cut(options, caplog, kind, given):
    def refusing(_place, _version):
        raise LingmaError("word-1-too and word-1 are wrong")

    device = kind == "device"
    found = await login(kind, b"" if device else given)
    failing = msgspec.structs.replace(options(), spec=refusing)
    attempt = await ran(found, failing, pasted=given if device else b"")
    assert (attempt.result, attempt.detail.endswith(" and … are wrong")) == ("no_program", True)
    assert "word-1" not in attempt.detail + caplog.text
