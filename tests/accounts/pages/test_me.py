import json
import re
from datetime import timedelta
from zoneinfo import ZoneInfo

import msgspec
import pytest
from django.contrib.auth.models import User
from django.test import Client
from django.utils import timezone

from accounts.keys import services
from accounts.ledger import hours
from accounts.limits.key_report import report_of
from accounts.models import ApiKey, Team, Usage
from accounts.pages import pastes
from gateway_project.lib.redis.redis_client import connect
from gateway_project.lib.secrets.key_secret import generate
from tests.accounts.pages.reading import Page

pytestmark = pytest.mark.django_db
PASTED = 302


@pytest.fixture(autouse=True)
def own_server(redis_server, settings):
    """The pages' Redis, with nothing held against anybody."""
    settings.REDIS_URL = redis_server
    with connect(redis_server) as server:
        server.flushdb()  # counts of limits, too: another test's key may have had the same number
        yield server


def new_key(name="mine", **fields):
    key = ApiKey(name=name, **fields)
    return key, services.create(key)


def new_row(key, number, **fields):
    plain = {
        "request_id": f"req_{number}", "api_key": key, "protocol": "openai", "endpoint": "/v1", "model": "qwen",
        "stream": True, "status": "ok", "reason": "stop", "queue_ms": 0, "total_ms": 1500, "prompt_tokens": 1234,
        "completion_tokens": 20, "usage_source": "estimate", "instance": "w1-i1", "started_at": timezone.now(),
    }  # fmt: skip
    return Usage.objects.create(**(plain | fields))


def paste(client, secret):
    return client.post("/me/", {"key": secret})


def text_of(page):
    return re.sub(r"\s+", " ", re.sub(r"<[^>]+>", " ", page.content.decode()))


def test_pasted_key_shows_its_page(client):
    key, secret = new_key(
        team=Team.objects.create(name="Ads"), expires_at=timezone.now() + timedelta(days=3, minutes=-30)
    )
    assert "Paste an API key" in text_of(client.get("/me/"))
    assert (paste(client, f" {secret}\n").status_code, client.cookies["lgw_key"]["samesite"]) == (PASTED, "Strict")
    page = client.get("/me/")
    text = text_of(page)
    for words in ("mine", key.hint, "Ads", "live", "in 2 d 23 h", "This key has no limits.", "No request has come yet"):
        assert words in text
    assert secret not in page.content.decode()


def test_cookie_is_for_this_page_alone(client):
    _, secret = new_key()
    cookie = paste(client, secret).cookies["lgw_key"]
    assert (cookie["httponly"], cookie["samesite"], cookie["path"]) == (True, "Strict", "/me/")
    assert secret not in cookie.value
    assert ApiKey.objects.get().digest not in cookie.value


def test_requests_are_told_in_plain_words(client):
    key, secret = new_key()
    paste(client, secret)
    other, _ = new_key("other")
    new_row(other, 99, model="of-somebody-else")
    new_row(key, 1)
    new_row(key, 3, usage_source="partial", completion_tokens=7, status="cancelled", reason="client_closed")
    limit = {"limit_scope": "key", "allowed": 60, "value": 60, "retry_after": 12, "count": 5}
    new_row(key, 2, status="refused", reason="rpm", instance="", **limit)
    text = text_of(client.get("/me/"))
    for words in (
        "First request seen ✓", "Answered in full in 1.5 s.", "1,234 / 20 (estimated)",
        "1,234 / 7 (estimated until it broke off)",
        "The limit of the key is reached: requests per minute, 60 of 60. It could be tried again 12 s later.",
        "refused × 5",
    ):  # fmt: skip
        assert words in text, words
    assert "of-somebody-else" not in text


DAY_FIELDS = ("turns", "failed", "refused", "cancelled", "prompt_tokens", "completion_tokens")


def plain(text):
    """A number as the page shows it; None where it says that nobody knows."""
    return None if text == "–" else int(text.removeprefix("≈").strip().replace(",", ""))


def test_days_equal_what_programs_are_told(client):
    team = Team.objects.create(name="Ads", time_zone="Pacific/Auckland")
    key, secret = new_key(team=team)
    other, _ = new_key("other")
    now, refused = timezone.now(), {"status": "refused", "reason": "rpm", "usage_source": "", "instance": ""}
    refused |= {"prompt_tokens": 0, "completion_tokens": 0}
    for number, (days, facts) in enumerate([
        (0, {}), (0, {"status": "error", "reason": "upstream"}), (1, {"usage_source": "upstream"}), (29, {}),
        (1, refused | {"count": 1200}), (4, refused | {"count": 7}), (31, {}),
        (3, {"status": "cancelled", "reason": "client_closed", "usage_source": "partial"}),
    ]):  # fmt: skip
        new_row(key, number, started_at=now - timedelta(days=days), **facts)
    new_row(other, 99, prompt_tokens=5_000_000)
    hours.rebuild(now - timedelta(days=40), now + timedelta(hours=1))
    paste(client, secret)
    page = Page(client.get("/me/"))
    told = json.loads(msgspec.json.encode(report_of(key, key.digest, timezone.now())))
    days = told["days"]
    shown = [(day, turns, *rest) for day, turns, _ok, *rest in page.body("days")]
    assert [row[0] for row in shown] == [each["day"] for each in days]
    assert [tuple(map(plain, row[1:])) for row in shown] == [tuple(each[name] for name in DAY_FIELDS) for each in days]
    assert [("≈" in row[-1]) for row in shown] == [each["estimated_turns"] > 0 for each in days]
    assert [row[-1] for row in shown].count("–") == 1
    assert all(plain(row[1]) == sum(map(plain, row[2:6])) for row in page.body("days"))
    words = text_of(client.get("/me/"))
    sums = {name: sum(each[name] or 0 for each in days) for name in DAY_FIELDS}
    assert "Pacific/Auckland" in words
    assert (
        f"Turns {sums['turns']:,} ok 3 error 1 refused 1,207 cancelled 1 "
        f"Tokens in ≈ {sums['prompt_tokens']:,} Tokens out ≈ {sums['completion_tokens']}" in words
    )
    links = {each["day"]: f"/me/?day={each['day']}#requests" if each["turns"] else "" for each in days}
    assert {row[0]: hrefs[0] for row, hrefs in zip(shown, page.hrefs["days"][1:], strict=True)} == links
    drawn = [(links[each["day"]], f"{each['day']}: {each['turns']:,}") for each in days[::-1]]
    assert [bar[:2] for bar in page.bars] == drawn
    assert {each for *_, pieces in page.bars for each in pieces} == {
        "bar-ok", "bar-failed", "bar-refused", "bar-cancelled"
    }  # fmt: skip


def test_days_without_a_turn_are_a_sentence(client):
    _, secret = new_key()
    paste(client, secret)
    page = client.get("/me/")
    assert "No turns in the last thirty days." in text_of(page)
    assert "<svg" not in page.content.decode()


# New Delhi's days begin amid an hour of UTC: what comes before it is summed from rows.
@pytest.mark.parametrize("zone", ["Pacific/Auckland", "Asia/Kolkata"])
def test_models_and_reasons_add_up_the_days(client, zone):
    key, secret = new_key(team=Team.objects.create(name="Ads", time_zone=zone))
    other, _ = new_key("other")
    now, first = timezone.now(), timezone.now().astimezone(ZoneInfo(zone)).replace(hour=0, minute=0, second=0)
    refused = {"status": "refused", "reason": "rpm", "lingma_model": "", "usage_source": "", "instance": ""}
    refused |= {"prompt_tokens": 0, "completion_tokens": 0, "total_ms": 0}
    for number, (at, facts) in enumerate([
        (now, {"lingma_model": "qwen3", "first_token_ms": 150}), (now, refused | {"count": 1200}),
        (now, {"lingma_model": "qwen3", "status": "error", "reason": "upstream", "total_ms": 150}),
        (first - timedelta(days=29, seconds=1), {"lingma_model": "too-early"}),
        (first - timedelta(days=29, seconds=-1), {"lingma_model": "kimi", "first_token_ms": 150}),
    ]):  # fmt: skip
        new_row(key, number, started_at=at, **facts)
    new_row(other, 99, lingma_model="of-somebody-else")
    hours.rebuild(now - timedelta(days=40), now + timedelta(hours=1))
    paste(client, secret)
    page = Page(client.get("/me/"))
    assert page.body("by-model") == [
        ["none (refused before)", "1,200", "0", "0", "1,200", "0", "–", "–"],
        ["qwen3", "2", "1", "1", "0", "0", "≈ 2,468", "≈ 40"],
        ["kimi", "1", "1", "0", "0", "0", "≈ 1,234", "≈ 20"],
    ]
    assert page.body("by-reason") == [
        ["requests per minute", "1,200", "0", "0", "1,200", "0", "–", "–"],
        ["upstream", "1", "0", "1", "0", "0", "≈ 1,234", "≈ 20"],
    ]
    assert [sum(int(row[1].replace(",", "")) for row in page.body(name)) for name in ("by-model", "days")] == [1203] * 2
    words = text_of(client.get("/me/"))
    assert "First token p50 / p95 150 / 195 ms" in words
    assert "Took p50 / p95" in words


def test_a_day_narrows_the_requests_to_itself(client):
    key, secret = new_key(team=Team.objects.create(name="Ads", time_zone="Pacific/Auckland"))
    midnight = (
        timezone.now().astimezone(ZoneInfo("Pacific/Auckland")).replace(hour=0, minute=0, second=0, microsecond=0)
    )
    start, end = midnight - timedelta(days=2), midnight - timedelta(days=1)
    for number, at in enumerate([start, end - timedelta(seconds=1), start - timedelta(seconds=1), end]):
        new_row(key, number, started_at=at)
    other, _ = new_key("other")
    new_row(other, 99, started_at=start)
    hours.rebuild(start - timedelta(days=2), timezone.now())
    paste(client, secret)
    href = dict(Page(client.get("/me/")).links)[f"{start:%Y-%m-%d}"]
    page = client.get(href)
    assert re.findall(r"<code>(req_\d+)", page.content.decode()) == ["req_1", "req_0"]
    assert f"My requests on {start:%Y-%m-%d} (Pacific/Auckland)" in text_of(page)
    assert dict(Page(page).links)["My last requests"] == "/me/#requests"
    assert "None on that day." in text_of(client.get("/me/", {"day": f"{midnight - timedelta(days=9):%Y-%m-%d}"}))


@pytest.mark.parametrize("day", ["x", "2020-01-01", "9999-12-31", "2026-11-28T00:00", "٢٠٢٦-١١-٢٨"])
def test_day_of_another_time_is_told(client, day):
    key, secret = new_key()
    new_row(key, 1)
    paste(client, secret)
    page = client.get("/me/", {"day": day})
    assert "There is no such day here" in text_of(page)
    assert "<code>req_1" in page.content.decode()


def test_last_fifty_requests_are_listed(client):
    key, secret = new_key()
    for number in range(60):
        new_row(key, number, started_at=timezone.now() - timedelta(minutes=number))
    paste(client, secret)
    ids = re.findall(r"req_\d+", client.get("/me/").content.decode())
    assert ids == [f"req_{number}" for number in range(50)]


def test_limits_of_key_and_team_are_shown(client):
    team = Team.objects.create(name="Ads", tokens_day=1_000_000, shadow="tokens_day")
    _, secret = new_key(rpm=60, team=team)
    paste(client, secret)
    text = text_of(client.get("/me/"))
    assert re.search(r"requests per minute of the key 0 / 60 60", text)
    assert re.search(r"tokens per day of the team, only counted 0 / 1,000,000", text)


def test_limits_without_redis_are_unknown(client, settings):
    _, secret = new_key(rpm=60)
    paste(client, secret)
    settings.REDIS_URL = "redis://127.0.0.1:1"
    assert "They cannot be read right now." in text_of(client.get("/me/"))


def test_setups_have_an_allowed_model_and_no_key(client):
    _, secret = new_key(allowed_models="qwen3-*,!qwen3-max")
    paste(client, secret)
    page = client.get("/me/").content.decode()
    assert "YOUR_API_KEY" in page
    assert "http://testserver/v1" in page
    assert "qwen3-*,!qwen3-max" in page
    assert "&quot;model&quot;: &quot;qwen3-&quot;" in page


@pytest.mark.parametrize(
    ("close", "words"),
    [
        (lambda key: services.revoke(key), "The key is revoked. Since"),
        (lambda key: services.pause(key), "The key is paused. Since"),
        (lambda key: services.quarantine(key), "The key is in quarantine. Since"),
        (
            lambda key: ApiKey.objects.filter(pk=key.pk).update(expires_at=timezone.now() - timedelta(seconds=1)),
            "The key has expired. Since",
        ),
        (
            lambda key: ApiKey.objects.filter(pk=key.pk).update(allowed_networks="10.0.0.0/8"),
            "The key may not be used from the address 127.0.0.1.",
        ),
        # What closes it comes first, as at /v1.
        (
            lambda key: ApiKey.objects.filter(pk=key.pk).update(
                allowed_networks="10.0.0.0/8", paused_at=timezone.now(), expires_at=timezone.now()
            ),
            "The key has expired. Since",
        ),
    ],
)
def test_closed_key_ends_its_cookie_at_once(client, close, words):
    key, secret = new_key()
    paste(client, secret)
    assert "My last requests" in text_of(client.get("/me/"))
    close(key)
    page = client.get("/me/")
    assert words in text_of(page)
    assert "My last requests" not in text_of(page)
    assert client.cookies["lgw_key"].value == ""
    again = paste(client, secret)
    assert (again.status_code, words in text_of(again)) == (403, True)


def test_old_cookie_lasts_for_the_grace(client):
    key, secret = new_key()
    paste(client, secret)
    services.rotate(key, timedelta(hours=1))
    assert "My last requests" in text_of(client.get("/me/"))
    ApiKey.objects.filter(pk=key.pk).update(previous_until=timezone.now())
    assert "My last requests" not in text_of(client.get("/me/"))
    assert paste(client, secret).status_code == 403


def test_old_secret_is_told_its_end(client):
    key, secret = new_key()
    paste(client, secret)
    assert "the old one" not in text_of(client.get("/me/"))
    newer = services.rotate(key, timedelta(hours=1))
    end = timezone.localtime(key.previous_until)
    text = text_of(client.get("/me/"))
    assert re.search(rf"This secret is the old one; it ends in (1 h|59 min[^,]*), at {end:%Y-%m-%d %H:%M} ", text)
    assert "Ask who gave it to you for the new one." in text
    assert key.hint not in text
    other = Client()
    paste(other, newer)
    text = text_of(other.get("/me/"))
    assert (key.hint in text, "the old one" in text) == (True, False)


def test_old_secret_ends_with_its_key(client):
    key, secret = new_key(expires_at=timezone.now() + timedelta(minutes=9))
    services.rotate(key, timedelta(days=1))
    paste(client, secret)
    assert f", at {timezone.localtime(key.expires_at):%Y-%m-%d %H:%M} " in text_of(client.get("/me/"))


def test_deleted_key_ends_its_cookie(client):
    key, secret = new_key()
    paste(client, secret)
    key.delete()
    assert "Paste an API key" in text_of(client.get("/me/"))


@pytest.mark.parametrize("value", ["", "x", "WzEsICJhIl0:1tabcd:forged", "a" * 5000])
def test_forged_cookie_shows_nothing(client, value):
    new_key()
    client.cookies["lgw_key"] = value
    assert "Paste an API key" in text_of(client.get("/me/"))


def test_cookie_of_one_key_is_none_of_another(client):
    (_first, one), (second, two) = new_key("alpha"), new_key("beta")
    other = Client()
    paste(client, one)
    paste(other, two)
    new_row(second, 7, model="made-for-b")
    assert ("alpha" in text_of(client.get("/me/")), "beta" in text_of(client.get("/me/"))) == (True, False)
    assert ("beta" in text_of(other.get("/me/")), "alpha" in text_of(other.get("/me/"))) == (True, False)
    assert "made-for-b" not in text_of(client.get("/me/"))


def test_forgotten_key_takes_its_cookie_away(client):
    _, secret = new_key()
    paste(client, secret)
    assert client.post("/me/", {"forget": "1"}).status_code == 302
    assert "Paste an API key" in text_of(client.get("/me/"))


def test_form_of_another_site_is_refused():
    _, secret = new_key()
    strict = Client(enforce_csrf_checks=True)
    assert paste(strict, secret).status_code == 403
    assert "lgw_key" not in strict.cookies


def test_a_hundred_wrong_pastes_are_slowed(client):
    answers = [paste(client, generate()) for _ in range(100)]
    tried = [answer for answer in answers if answer.status_code == 403]
    assert len(tried) <= pastes.FREE + 8
    assert {answer.status_code for answer in answers} == {403, 429}
    assert 0 < int(answers[-1]["Retry-After"]) <= pastes.LONGEST_SEC
    assert "Too many wrong keys" in text_of(answers[-1])
    _, secret = new_key()
    assert paste(Client(REMOTE_ADDR="10.1.1.1"), secret).status_code == PASTED


def test_wrong_pastes_are_slowed_without_redis(client, settings):
    settings.REDIS_URL = "redis://127.0.0.1:1"
    answers = [paste(client, generate()).status_code for _ in range(20)]
    assert answers.count(403) <= pastes.FREE + 2
    pastes.was_right("127.0.0.1")


def test_right_key_clears_the_wrong_ones(client):
    _, secret = new_key()
    for _ in range(3):
        for _ in range(pastes.FREE - 1):
            assert paste(client, generate()).status_code == 403
        assert paste(client, secret).status_code == PASTED


@pytest.mark.parametrize("wrong", ["", "x" * 2000, "hello", "lgw_12345678_" + "a" * 38, "a\0b", "密钥"])
def test_wrong_paste_is_explained(client, wrong):
    page = paste(client, wrong)
    assert page.status_code in {400, 403}
    assert 'role="alert"' in page.content.decode()
    assert "lgw_key" not in client.cookies


def test_page_of_a_key_leads_to_no_console(client):
    _, secret = new_key()
    client.force_login(User.objects.create_superuser("root"))
    pages = [client.get("/me/"), paste(client, secret), client.get("/me/"), client.get("/display/?next=/me/")]
    for page in pages[:3]:
        assert "/admin/" not in page.content.decode()
    assert 'action="/display/language/"' in pages[3].content.decode()


def test_page_is_not_stored_and_not_inline(client):
    _, secret = new_key()
    paste(client, secret)
    page = client.get("/me/")
    assert page["Cache-Control"] == "no-store"
    assert page["Content-Security-Policy"].startswith("default-src 'self';")
    assert not re.search(r"<style|<script(?![^>]* src=)|\sstyle=|\son[a-z]+=|javascript:", page.content.decode())


def test_key_in_the_address_is_not_read(client):
    _, secret = new_key()
    assert "My last requests" not in text_of(client.get("/me/", {"key": secret}))


def test_page_costs_few_queries(client, django_assert_max_num_queries):
    key, secret = new_key()
    for number in range(50):
        new_row(key, number)
    paste(client, secret)
    with django_assert_max_num_queries(9):
        client.get("/me/")
    with django_assert_max_num_queries(10):
        client.get("/me/", {"day": f"{timezone.localdate():%Y-%m-%d}"})
