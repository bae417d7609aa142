"""Wrong passwords and codes: waits grow, say how long, and end; the log has nothing that was typed."""

import itertools

import pytest
import redis
from django.test import Client

from accounts.login import waits
from accounts.models import AuditEntry
from gateway_project.lib import attempts
from gateway_project.lib.redis import redis_keys
from tests.accounts.login.people import PASSWORD, add_app, code_of, log_in, person


def failures():
    rows = AuditEntry.objects.filter(action="login_failed").order_by("id")
    return [(row.actor, row.object_text, row.address, row.changes["failures"][1]) for row in rows]


def end_of_waits(server):
    with redis.Redis.from_url(server) as client:
        for name in client.scan_iter(f"{redis_keys.LOG_INS}*"):
            if client.type(name) == b"hash":
                client.hset(name, "until", 0)


def test_wait_after_wrong_passwords_grows_and_ends(client, redis_server):
    person()
    waited = []
    for _ in range(9):
        while (answer := log_in(client, password="wrong")).status_code == 200:
            pass
        assert answer.status_code == 429
        waited.append(int(answer["Retry-After"]))
        assert f"Try again in {waited[-1]} s." in answer.content.decode() or waited[-1] >= 120
        right = log_in(client)
        assert right.status_code == 429  # the password is not even looked at
        end_of_waits(redis_server)
    assert waited == sorted(waited)
    assert waited[0] <= 2
    assert waited[-1] > 200
    assert max(waited) <= waits.NAMES.longest_sec
    assert log_in(client).status_code == 302
    assert log_in(Client(), password="wrong").status_code == 200  # nothing is left of it


def test_clock_set_back_makes_nobody_wait_longer(client, redis_server):
    person()
    log_in(client, password="wrong")
    with redis.Redis.from_url(redis_server) as server:
        before = server.time()[0] + 86_400
        for name in server.scan_iter(f"{redis_keys.LOG_INS}*"):
            if server.type(name) == b"hash":
                server.hset(name, "until", before)
    assert log_in(client).status_code == 302


def test_failures_are_counted_as_redis_6_can(client, redis_server):
    with redis.Redis.from_url(redis_server) as server, redis.Redis.from_url(redis_server) as other:
        with server.monitor() as monitor:
            log_in(client, password="wrong")
            other.echo("the end")
            asked = list(itertools.takewhile(lambda each: "the end" not in each, commands(monitor)))
        lives = [server.ttl(name) for name in server.scan_iter(f"{redis_keys.LOG_INS}failed:*")]
        assert lives
        assert all(0 < each <= 3600 for each in lives)
    assert any("INCR" in each for each in asked)
    assert [each for each in asked if each.startswith("EXPIRE") and len(each.split()) > 3] == []


def commands(monitor):
    while True:
        yield monitor.next_command()["command"]


def test_other_addresses_and_users_do_not_wait(client):
    person()
    while log_in(client, password="wrong").status_code == 200:
        pass
    assert log_in(Client(REMOTE_ADDR="10.1.1.1")).status_code == 302
    person("bob")
    assert log_in(client, "bob").status_code == 302


def test_many_names_from_one_address_wait(client):
    statuses = [log_in(client, f"name{number}").status_code for number in range(waits.ADDRESSES.free + 5)]
    assert statuses.count(200) <= waits.ADDRESSES.free + 2
    assert 429 in statuses


@pytest.mark.parametrize("away", [False, True])
def test_own_log_ins_hide_no_other_tries(client, settings, away):
    if away:
        settings.REDIS_URL = "redis://127.0.0.1:1"
    person()
    tried = 0
    while log_in(client, f"name{tried}").status_code == 200:
        tried += 1
        assert log_in(client).status_code in {302, 429}
        client.logout()
        assert tried < 2 * waits.ADDRESSES.free


def test_wrong_passwords_wait_without_redis_too(client, settings):
    settings.REDIS_URL = "redis://127.0.0.1:1"
    person()
    statuses = [log_in(client, password="wrong").status_code for _ in range(10)]
    assert (statuses[0], statuses[-1]) == (200, 429)
    assert failures()[0] == ("anonymous", "anna", "127.0.0.1", "1")
    attempts._alone.clear()
    assert log_in(client).status_code == 302


def test_flood_is_a_few_rows_without_names(client, monkeypatch, caplog):
    monkeypatch.setattr(waits, "NAMES", attempts.Attempts(waits.NAMES.name, 10**6, 1, 60))
    monkeypatch.setattr(waits, "ADDRESSES", attempts.Attempts(waits.ADDRESSES.name, 10**6, 1, 60))
    person()
    for _ in range(105):
        log_in(client, password="wrong")
    log_in(client, "my-password-by-mistake")
    assert [row[3] for row in failures()] == ["1", "10", "100", "1"]
    assert failures()[-1] == ("anonymous", "", "127.0.0.1", "1")
    assert "mistake" not in caplog.text
    assert "mistake" not in str(list(AuditEntry.objects.values()))
    with redis.Redis.from_url("unix://" + str(waits.settings.DATA_DIR / "redis.sock")) as server:
        assert not [name for name in server.scan_iter("lgw:logins:*") if b"anna" in name or b"mistake" in name]


def test_flood_from_many_addresses_is_bounded(monkeypatch):
    monkeypatch.setattr("accounts.login.events.MOST_ROWS", 3)
    for number in range(30):
        log_in(Client(REMOTE_ADDR=f"10.0.0.{number}"), "nobody")
    assert len(failures()) == 4  # three, and the tenth


def test_codes_wait_whatever_the_address(client, redis_server):
    person()
    log_in(client)
    secret = add_app(client)
    statuses = []
    for number in range(8):
        guesser = Client(REMOTE_ADDR=f"10.0.0.{number}")
        assert log_in(guesser).url == "/login/code/"
        page = guesser.post("/login/code/", {"code": "000000"})
        assert "_auth_user_id" not in guesser.session
        statuses.append("Too many wrong tries" in page.content.decode())
    assert (statuses[0], statuses[-1]) == (False, True)
    end_of_waits(redis_server)
    assert guesser.post("/login/code/", {"code": code_of(secret)}).status_code == 302
    assert [row[1] for row in failures()] == ["anna"] * len(failures())


@pytest.mark.parametrize("path", ["/account/again/password/", "/account/password/"])
def test_open_browser_is_no_way_to_try_passwords(client, path):
    person()
    client.force_login(person("bob"))
    field = "password" if "again" in path else "old_password"
    pages = [client.post(path, {field: "wrong"}).content.decode() for _ in range(8)]
    assert "Too many wrong tries" in pages[-1]
    assert PASSWORD not in pages[-1]


def test_log_ins_and_log_outs_are_rows(client):
    user = person()
    log_in(client)
    client.post("/logout/")
    rows = AuditEntry.objects.filter(action__in=["logged_in", "logged_out"]).order_by("id")
    assert [(row.actor, row.action, row.object_id, row.address) for row in rows] == [
        ("anna", "logged_in", str(user.pk), "127.0.0.1"),
        ("anna", "logged_out", str(user.pk), "127.0.0.1"),
    ]
