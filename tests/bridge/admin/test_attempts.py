"""The page on which a login is made anew: what it offers, shows and hides, and who may do what."""

import re

import pytest
from django.contrib.auth.models import Group, User
from django.test import Client
from django.utils import timezone, translation
from django.utils.translation import gettext

from accounts.models import AuditEntry
from bridge.models import Login, LoginAttempt, SignInPage
from bridge.signin.login_service import SILENT
from bridge.signin.ways import NOT_TAKEN
from gateway_project.lib.secrets.secrets_at_rest import Secret

SECRET = "very-secret-password"
URL = "https://devops.aliyun.com/lingma/login?nonce=abc"
PNG = b"\x89PNG of a page"

pytestmark = [pytest.mark.django_db, pytest.mark.usefixtures("redis_server")]


@pytest.fixture
def login(db):
    return Login.objects.create(label="main", kind="automatic", generation=2, credentials=Secret.of(SECRET.encode()))


@pytest.fixture
def page(login):
    return f"/admin/bridge/login/{login.pk}/attempts/"


@pytest.fixture
def viewer(db):
    user = User.objects.create_user("viewer", is_staff=True)
    user.groups.add(Group.objects.get(name="Viewer"))
    client = Client()
    client.force_login(user)
    return client


def attempt_of(login, **columns):
    given = {"way": "automatic", "reason": "schedule", "generation": 2, "state": "needs_person"} | columns
    return LoginAttempt.objects.create(login=login, **given)


def change_of(login):
    return f"/admin/bridge/login/{login.pk}/change/"


def text(client, path):
    return client.get(path).content.decode()


def test_buttons_are_those_of_the_login(admin_client, login, page):
    assert "Log in by itself" in text(admin_client, page)
    Login.objects.update(kind="bundle", credentials=None)
    shown = text(admin_client, page)
    assert "Log in by itself" not in shown
    assert "Log in with a browser" in shown
    (button,) = re.findall(
        rf'href="(/admin/bridge/login/{login.pk}/[^"]*log-in/)"', text(admin_client, change_of(login))
    )
    assert admin_client.get(button)["Location"] == page


def test_attempt_begins_once_from_the_page(admin_client, login, page):
    admin_client.post(page, {"way": "browser"})
    assert "An attempt runs already." in admin_client.post(page, {"way": "automatic"}, follow=True).content.decode()
    attempt = LoginAttempt.objects.get()
    assert (attempt.way, attempt.reason, attempt.who, attempt.generation) == ("browser", "operator", "admin", 2)
    assert AuditEntry.objects.filter(object_type="bridge.loginattempt", action="created", actor="admin").count() == 1
    admin_client.post(page, {"do": "cancel"})
    assert LoginAttempt.objects.get().state == "cancelled"
    wrong = admin_client.post(page, {"way": "device", "tokens": "{}"}, follow=True).content.decode()
    assert "token, refreshToken or userId is missing." in wrong
    assert "no such way" in admin_client.post(page, {"way": "bundle"}, follow=True).content.decode()


@pytest.mark.parametrize("said", [NOT_TAKEN, SILENT])
def test_attempt_says_ours_in_chinese(admin_client, login, page, said):
    attempt_of(login, detail=said)
    assert said in text(admin_client, page)
    chinese = admin_client.get(page, headers={"accept-language": "zh-hans"}).content.decode()
    assert said not in chinese
    with translation.override("zh-hans"):
        assert gettext(said) in chinese


def test_refused_callback_names_its_field(admin_client, login):
    attempt_of(login, state="waiting")
    for url in ("http://127.0.0.1/admin/", "http://127.0.0.1:1/auth/callback?state=1"):
        answer = admin_client.post(f"/api/logins/{login.pk}/callback/", {"url": url}, "application/json")
        assert (answer.status_code, list(answer.json()["errors"])) == (400, ["url"])


@pytest.mark.parametrize("way", [{}, {"way": "browser"}, {"way": "automatic"}])
def test_tokens_are_refused_for_other_ways(admin_client, login, way):
    body = {"tokens": {"token": "t", "refreshToken": "r", "userId": "u"}} | way
    answer = admin_client.post(f"/api/logins/{login.pk}/relogin/", body, "application/json")
    assert (answer.status_code, list(answer.json()["errors"])) == (400, ["tokens"])
    assert not LoginAttempt.objects.exists()
    made = admin_client.post(f"/api/logins/{login.pk}/relogin/", body | {"way": "device"}, "application/json")
    assert (made.status_code, LoginAttempt.objects.get().way) == (202, "device")


def test_part_that_changes_says_how_far_it_is(admin_client, login, page):
    attempt = attempt_of(login, url=URL, detail="the page asks for a second factor")
    answer = admin_client.get(f"{page}now/")
    shown = answer.content.decode()
    assert answer["X-Attempt-State"] == "needs_person"
    assert "X-Attempt-Over" not in answer
    assert f'href="{URL}"' in shown
    assert "<script" not in shown
    LoginAttempt.objects.filter(pk=attempt.pk).update(state="done", result="logged_in", ended_at=timezone.now())
    assert admin_client.get(f"{page}now/")["X-Attempt-Over"] == "1"
    assert admin_client.get("/admin/bridge/login/99/attempts/now/").status_code == 404


def test_address_of_no_web_page_is_no_link(admin_client, login, page):
    attempt_of(login, url="javascript:alert(1)")
    assert "javascript:" not in text(admin_client, page)


def test_pasted_address_is_kept_encrypted_until_used(admin_client, login, page):
    attempt = attempt_of(login, url=URL)
    wrong = admin_client.post(page, {"do": "paste", "pasted": "http://127.0.0.1/admin/"}, follow=True)
    assert "This is not where a login ends" in wrong.content.decode()
    admin_client.post(page, {"do": "paste", "pasted": "http://127.0.0.1:1/auth/callback?state=1&auth=opaque%2F"})
    attempt.refresh_from_db()
    assert attempt.pasted.read() == b"/auth/callback?state=1&auth=opaque%2F"
    assert "opaque" not in text(admin_client, page)
    assert "opaque" not in str(list(AuditEntry.objects.values()))


@pytest.mark.parametrize(
    "what", [{"do": "paste", "pasted": "http://127.0.0.1:1/auth/callback?state=1"}, {"do": "cancel"}]
)
def test_help_that_comes_too_late_is_told(admin_client, login, page, what):
    attempt_of(login, state="failed", result="nobody_came", ended_at=timezone.now())
    assert "No attempt to log in runs." in admin_client.post(page, what, follow=True).content.decode()


def test_history_says_how_attempts_ended(admin_client, login, page):
    ended = {"state": "failed", "ended_at": timezone.now()}
    attempt = attempt_of(login, result="wrong_password", screenshot=Secret.of(PNG), **ended)
    attempt_of(login, result="chat_failed", detail="<b>quota</b>", **ended)
    shown = text(admin_client, page)
    for words in (
        "The page did not take user name and password",
        "Correct them on the page",
        "&lt;b&gt;quota&lt;/b&gt;",
    ):
        assert words in shown
    picture = admin_client.get(f"{page}{attempt.pk}.png")
    assert (picture.content, picture["Content-Type"]) == (PNG, "image/png")
    assert "no-store" in picture["Cache-Control"]
    assert AuditEntry.objects.filter(object_type="bridge.loginattempt", action="viewed").count() == 1
    assert admin_client.get(f"{page}{attempt.pk + 1}.png").status_code == 404


def test_advice_is_no_part_of_what_went_wrong(admin_client, login, page):
    attempt_of(login, state="failed", ended_at=timezone.now(), result="wrong_password", detail="it said no")
    assert re.search(r"</span>: it said no<span class=\"block\">Correct them", text(admin_client, page))


def test_login_says_how_its_latest_attempt_goes(admin_client, viewer, login, page):
    def told(client):
        return re.findall(rf'<a href="{page}">([^<]*)</a>', text(client, change_of(login)))

    assert told(admin_client) == []
    attempt_of(login, state="failed", ended_at=timezone.now(), result="wrong_password")
    assert told(admin_client) == ["the page did not take user name and password, begun just now"]
    attempt_of(login)
    assert told(admin_client) == told(viewer) == ["needs a person, begun just now"]


def test_viewers_see_attempts_and_no_secrets(viewer, login, page):
    attempt = attempt_of(login, url=URL)
    shown = text(viewer, page)
    assert "needs a person" in shown
    for hidden in (URL, "Pass on", "Cancel the attempt", "Log in by itself"):
        assert hidden not in shown
    assert viewer.post(page, {"do": "cancel"}).status_code == 403
    LoginAttempt.objects.update(state="failed", screenshot=Secret.of(PNG), ended_at=timezone.now())
    assert viewer.get(f"{page}{attempt.pk}.png").status_code == 403
    assert viewer.get(f"/api/logins/{login.pk}/attempts/").json()[0]["url"] == ""
    assert viewer.post(f"/api/logins/{login.pk}/relogin/").status_code == 403


def test_credentials_are_typed_and_times_set(admin_client, login):
    form = {
        "label": "main",
        "kind": "automatic",
        "endpoint": "",
        "lead_days": "3",
        "period_days": "",
        "jitter_hours": "0",
    }
    path = f"/admin/bridge/login/{login.pk}/change/"
    wrong = admin_client.post(path, form | {"credentials_text": "only-a-name"}).content.decode()
    assert "A log-in by itself needs two lines" in wrong
    admin_client.post(path, form | {"credentials_text": f"ann\r\n{SECRET}-2\r\n"})
    login.refresh_from_db()
    assert login.credentials.read().split() == [b"ann", f"{SECRET}-2".encode()]
    assert (login.lead_days, login.period_days, login.jitter_hours) == (3, None, 0)
    for each in (path, "/admin/bridge/login/", "/api/logins/", "/admin/accounts/auditentry/"):
        assert SECRET not in text(admin_client, each)


def test_credentials_are_never_those_of_another_kind(admin_client, login):
    path, api = change_of(login), f"/api/logins/{login.pk}/"
    form = {"label": "main", "kind": "ak_sk", "endpoint": "", "lead_days": "", "period_days": "", "jitter_hours": ""}
    words = "The stored credentials are of another kind."
    assert words in admin_client.post(path, form).content.decode()
    refused = admin_client.patch(api, {"kind": "ak_sk"}, "application/json")
    assert (refused.status_code, list(refused.json()["errors"])) == (400, ["kind"])
    assert Login.objects.get().kind == "automatic"
    # As it is, and for somebody who logs in by hand, what is stored stays.
    for kind in ("automatic", "browser"):
        assert admin_client.patch(api, {"kind": kind}, "application/json").status_code == 200
    Login.objects.update(kind="automatic")
    admin_client.post(path, form | {"credentials_text": "key\r\nsecret"})
    login.refresh_from_db()
    assert (login.kind, login.credentials.read().split()) == ("ak_sk", [b"key", b"secret"])


def test_list_says_when_each_is_made_again(admin_client, login):
    ends = timezone.now() + timezone.timedelta(days=30)
    Login.objects.update(expires_at=ends, account="logged_in", jitter_hours=0)
    due = timezone.localtime(ends - timezone.timedelta(days=7))
    assert f"{due:%Y-%m-%d}" in text(admin_client, "/admin/bridge/login/")
    Login.objects.update(failures=3)
    assert f"{due:%Y-%m-%d}" not in text(admin_client, "/admin/bridge/login/")


def test_login_page_is_one_row(admin_client, viewer):
    path = admin_client.get("/admin/bridge/signinpage/")["Location"]
    assert "Left empty: <code>#fm-login-id</code>" in text(admin_client, path)
    fields = dict.fromkeys(("user_fields", "buttons", "links", "errors", "captchas", "codes"), "")
    wrong = admin_client.post(path, {**fields, "password_fields": "#pw", "hosts": "https://x"}).content.decode()
    assert "https://x is no name of a host." in wrong
    admin_client.post(path, {**fields, "password_fields": "#pw\n", "hosts": "example.com"})
    assert SignInPage.changes() == {"password_fields": ("#pw",), "hosts": ("example.com",)}
    assert AuditEntry.objects.filter(object_type="bridge.signinpage", action="changed").exists()
    assert viewer.get(path).status_code == 200
    assert viewer.post(path, fields).status_code == 403


def test_login_that_nobody_has_is_not_found(admin_client):
    assert admin_client.get("/admin/bridge/login/abc/log-in/", follow=True).status_code == 404


def test_hosts_of_login_page_are_for_superusers():
    user = User.objects.create_user("operator", is_staff=True)
    user.groups.add(Group.objects.get(name="Operator"))
    client = Client()
    client.force_login(user)
    path = client.get("/admin/bridge/signinpage/")["Location"]
    client.post(path, {"password_fields": "#pw", "hosts": "example.com"})
    assert SignInPage.changes() == {"password_fields": ("#pw",)}
