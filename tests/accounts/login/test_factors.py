"""Second factors: set up, asked for, lost, removed; and required of staff."""

import re

import pytest
from allauth.mfa.models import Authenticator
from django.core.cache import cache
from django.core.management import CommandError, call_command
from django.test import Client

from accounts.models import AuditEntry
from tests.accounts.login.people import PASSWORD, add_app, code_of, log_in, person, recovery_codes


@pytest.fixture
def anna(client):
    person(staff=True, is_superuser=True)
    log_in(client)
    return client


@pytest.fixture
def required(settings):
    settings.ENV = settings.ENV.model_copy(update={"staff_mfa_required": True})


def second_step(code, **fields):
    client = Client()
    assert log_in(client, **fields).url == "/login/code/"
    return client, client.post("/login/code/", {"code": code})


def test_code_of_the_app_is_the_second_step(anna):
    secret = add_app(anna)
    client = Client()
    assert log_in(client, next="/usage/?range=7d").url == "/login/code/"
    assert client.get("/usage/").status_code == 302  # half is nothing
    assert client.get("/api/keys/").status_code == 401
    assert client.post("/login/code/", {"code": "000000"}).status_code == 200
    assert (
        client.post("/login/code/", {"code": f" {code_of(secret)[:3]} {code_of(secret)[3:]} "}).url
        == "/usage/?range=7d"
    )
    assert client.get("/usage/").status_code == 200


def test_code_is_taken_once(anna):
    secret = add_app(anna)
    code = code_of(secret)
    assert second_step(code)[1].status_code == 302
    client, answer = second_step(code)
    assert answer.status_code == 200
    assert "_auth_user_id" not in client.session


@pytest.mark.parametrize("between", ["-", ".", "\t", "_"])
def test_code_is_taken_once_however_written(anna, between):
    """By another process too, which has none of allauth's cache."""
    secret = add_app(anna)
    code = code_of(secret)
    assert second_step(code)[1].status_code == 302
    cache.clear()
    assert second_step(between.join(code))[1].status_code == 200


def test_stale_log_in_without_password_changes_nothing(client):
    user = person(staff=True)
    user.set_unusable_password()
    user.save()
    client.force_login(user)
    assert client.get("/account/app/add/").status_code == 403


@pytest.mark.parametrize("path", ["/account/app/add/", "/account/recovery/", "/account/recovery/codes.txt"])
def test_secrets_stay_in_no_cache(anna, path):
    if "recovery" in path:
        add_app(anna)
    assert "no-store" in anna.get(path)["Cache-Control"]


def test_each_recovery_code_works_once(anna):
    add_app(anna)
    first, second = recovery_codes(anna)[:2]
    assert second_step(first)[1].status_code == 302
    assert second_step(first)[1].status_code == 200
    assert second_step(second)[1].status_code == 302
    assert len(recovery_codes(anna)) == 8
    assert anna.get("/account/recovery/codes.txt").content.decode().split() == recovery_codes(anna)


def test_new_recovery_codes_end_the_old_ones(anna):
    add_app(anna)
    old = recovery_codes(anna)
    assert anna.post("/account/recovery/new/").url == "/account/recovery/"
    assert not set(old) & set(recovery_codes(anna))


def test_app_is_removed_with_its_recovery_codes(anna):
    add_app(anna)
    assert anna.post("/account/app/remove/").url == "/account/"
    assert not Authenticator.objects.exists()
    assert log_in(Client()).url == "/admin/"


def test_changes_need_a_fresh_password(anna):
    anna.force_login(person("bob"))
    answer = anna.get("/account/app/add/")
    assert answer.url == "/account/again/password/?next=%2Faccount%2Fapp%2Fadd%2F"
    assert anna.post(answer.url, {"password": "wrong"}).status_code == 200
    assert anna.post(answer.url, {"password": PASSWORD}).url == "/account/app/add/"
    assert anna.get("/account/app/add/").status_code == 200


def test_changes_are_rows_without_secrets(anna):
    secret = add_app(anna)
    anna.post("/account/app/remove/")
    rows = AuditEntry.objects.filter(object_type="mfa.authenticator").order_by("id")
    assert [(row.actor, row.action) for row in rows][:1] == [("anna", "created")]
    assert "deleted" in {row.action for row in rows}
    assert secret not in str(list(rows.values()))


@pytest.mark.parametrize("path", ["/account/", "/account/app/add/", "/account/keys/add/", "/account/password/",
                                  "/account/again/password/", "/account/recovery/", "/account/recovery/new/",
                                  "/account/app/remove/"])  # fmt: skip
def test_pages_have_strict_policy_and_nothing_inline(anna, path):
    if path != "/account/app/add/":
        add_app(anna)
    page = anna.get(path)
    assert page.status_code == 200
    assert "unsafe" not in page["Content-Security-Policy"]
    page_text = re.sub(r'<script id="[\w-]+" type="application/json">', "", page.content.decode())
    assert not re.search(r"<style|<script(?![^>]* src=)|\sstyle=|\son[a-z]+=|javascript:", page_text)


@pytest.mark.parametrize("path", ["/account/", "/account/app/add/", "/account/keys/add/", "/account/recovery/"])
def test_pages_of_factors_need_a_log_in(client, path):
    assert client.get(path).url.startswith("/login/")


def test_required_factor_comes_before_anything_else(anna, required):
    for path in ("/admin/", "/admin/accounts/team/", "/usage/", "/", "/api/docs/x"):
        answer = anna.get(path)
        assert answer.status_code in {302, 403}
        assert answer.status_code == 403 or answer.url.startswith("/account/?next=")
    refused = anna.get("/api/keys/")
    assert (refused.status_code, refused.json()["code"]) == (403, "second_factor_required")
    assert "Staff must have a second factor" in anna.get("/account/").content.decode()
    add_app(anna)
    assert anna.get("/admin/").status_code == 200
    assert anna.get("/api/keys/").status_code == 200


def test_removed_factor_is_required_again(anna, required):
    add_app(anna)
    anna.post("/account/app/remove/")
    assert anna.get("/admin/").url.startswith("/account/")


def test_members_need_none(client, required):
    person("bob")
    assert log_in(client, "bob").url == "/usage/"
    assert client.get("/account/").status_code == 200
    assert "Staff must" not in client.get("/account/").content.decode()


def test_foreign_factor_is_out_of_reach(anna):
    factor = Authenticator.objects.create(user=person("bob"), type="webauthn", data={"name": "his", "credential": {}})
    assert anna.post(f"/account/keys/{factor.pk}/remove/").status_code == 404
    assert Authenticator.objects.filter(pk=factor.pk).exists()


def test_secrets_are_encrypted_and_rotated(anna, settings, capsys):
    secret = add_app(anna)
    stored = {each.type: each.data for each in Authenticator.objects.all()}
    assert secret not in str(stored)
    settings.SECRET_KEYS = ["a new key of many characters", *settings.SECRET_KEYS]
    call_command("rotate_secrets")
    settings.SECRET_KEYS = settings.SECRET_KEYS[:1]
    assert second_step(code_of(secret))[1].status_code == 302
    settings.SECRET_KEYS = ["another key of many characters"]
    assert "SECRET_KEYS" in second_step(code_of(secret))[1].content.decode()
    with pytest.raises(CommandError, match="cannot be read"):
        call_command("rotate_secrets")


def test_command_lets_in_who_lost_everything(anna, capsys):
    add_app(anna)
    call_command("remove_second_factors", "anna")
    assert "2 second factors of anna" in capsys.readouterr().out
    assert log_in(Client()).url == "/admin/"
    rows = AuditEntry.objects.filter(action="deleted", object_type="mfa.authenticator")
    assert {(row.actor, row.source) for row in rows} == {("remove_second_factors", "command")}
    with pytest.raises(CommandError, match="no user"):
        call_command("remove_second_factors", "nobody")


@pytest.mark.parametrize("path", ["/account/", "/account/recovery/", "/account/recovery/codes.txt"])
def test_page_without_the_key_says_so(anna, settings, path):
    add_app(anna)
    assert recovery_codes(anna)
    settings.SECRET_KEYS = ["another key of many characters"]
    answer = anna.get(path, follow=True)
    assert answer.status_code == 200
    assert answer.redirect_chain == ([] if path == "/account/" else [("/account/", 302)])
    assert ("SECRET_KEYS" in answer.content.decode()) is (path != "/account/")


def test_console_leads_to_second_factors(admin_client):
    assert 'href="/account/"' in admin_client.get("/admin/").content.decode()
