"""Logins by console, API and command: imported, assigned, spread; and nothing of them ever shown."""

import json
import re
import time
from io import StringIO
from pathlib import Path

import msgspec
import pytest
import redis
from django.contrib.auth.models import Group, Permission, User
from django.core.files.uploadedfile import SimpleUploadedFile
from django.core.management import CommandError, call_command
from django.test import Client
from django.utils import timezone

from accounts.models import AuditEntry
from bridge.fleet.logins import spread
from bridge.fleet.orders import read_orders
from bridge.logins.bundle import Bundle
from bridge.logins.credentials import Password, read
from bridge.models import InstanceOrder, Login, LoginRefresh
from bridge.status.instance import InstanceStatus
from bridge.status.logins import LoginKind
from tests.bridge.logins.files import user_file, write_login
from tests.bridge.logins.test_bundle import zipped

pytestmark = pytest.mark.django_db
LIST = "/admin/bridge/login/"
SECRET = "pt-secret-alice"


@pytest.fixture
def instances(redis_server):
    with redis.Redis.from_url(redis_server) as client:
        client.flushdb()
        for name, upstream in (("w1-i1", "lingma"), ("w1-i2", "lingma"), ("w2-i1", "attached")):
            status = InstanceStatus(
                name=name, process=1, pid=99, generation=1, state="ready", login=True, in_flight=2, limit=8, restarts=4,
                last_error="", version="2.5.1", upstream=upstream, models=6, started_at=time.time() - 7200,
                at=time.time(),
            )  # fmt: skip
            client.set(f"lgw:instance:{name}", msgspec.json.encode(status), ex=60)
        yield client
        client.flushdb()


def by_command(*arguments):
    out = StringIO()
    call_command("lingma_login", *map(str, arguments), stdout=out)
    return out.getvalue().strip()


def files_of(label):
    return Bundle.unpacked(Login.objects.get(label=label).bundle.read()).files


def assigned():
    labels = dict(Login.objects.values_list("pk", "label"))
    return {name: labels[order.login.login] for name, order in read_orders().items() if order.login}


def upload(client, label="main", path=f"{LIST}add/", **more):
    return client.post(path, {"label": label, "kind": "bundle", "endpoint": "", **more}, follow=True)


def file(name, content):
    return SimpleUploadedFile(name, content)


def viewer():
    user = User.objects.create_user("viewer", is_staff=True)
    user.groups.add(Group.objects.get(name="Viewer"))
    client = Client()
    client.force_login(user)
    return client


def test_command_imports_and_assigns(instances, tmp_path):
    write_login(tmp_path / "secrets")
    said = by_command("main", "--bundle", tmp_path, "--instances", "w1-i1,w1-i2")
    assert said == "main: generation 1, on w1-i1, w1-i2"
    assert files_of("main")["cache/id"] == b"machine-1"
    assert assigned() == {"w1-i1": "main", "w1-i2": "main"}
    assert by_command("main", "--bundle", tmp_path) == "main: generation 2"
    assert by_command("main", "--instances", "w1-i2") == "main: generation 2, on w1-i2"
    assert assigned() == {"w1-i2": "main"}


def test_command_says_what_is_wrong(instances, tmp_path):
    for arguments, words in [
        (("main", "--bundle", tmp_path), "no folder with the files user and id"),
        (("main", "--bundle", tmp_path / "none"), "is no folder"),
        (("main", "--token-file", tmp_path / "none"), "No such file"),
        (("main",), "There is no login main"),
    ]:
        with pytest.raises(CommandError, match=words):
            by_command(*arguments)
    write_login(tmp_path)
    # An attached service is not ours to give a login to.
    with pytest.raises(CommandError, match=r"There is no instance w2-i1 .* There are: w1-i1, w1-i2\."):
        by_command("main", "--bundle", tmp_path, "--instances", "w2-i1")
    assert not Login.objects.exists()


@pytest.mark.parametrize("way", [(), ("--browser",)])
def test_arguments_that_stay_unread_are_refused(way, tmp_path):
    """It said the generation of the login, as if the password were stored."""
    by_command("main", "--bundle", write_login(tmp_path / "a"))
    with pytest.raises(CommandError, match="--password-file is for --auto"):
        by_command("main", *way, "--password-file", tmp_path / "none")
    with pytest.raises(CommandError, match="--store-only is for the secrets of a file"):
        by_command("main", *way, "--store-only")


def test_credentials_come_from_files(tmp_path):
    Path(tmp_path / "token").write_text(f"{SECRET}\n")
    more = ("--store-only", "--endpoint", "https://example.com")
    assert by_command("token", "--token-file", tmp_path / "token", *more) == "token: personal_token"
    login = Login.objects.get()
    assert (login.kind, login.credentials.read(), login.generation) == ("personal_token", SECRET.encode(), 0)
    Path(tmp_path / "empty").write_text("\n")
    with pytest.raises(CommandError, match="empty or too long"):
        by_command("keys", "--ak-sk-file", tmp_path / "empty")


def test_blanks_of_a_password_are_stored(admin_client, instances, tmp_path):
    Path(tmp_path / "password").write_text("ann\n s3cret \n")
    by_command("command", "--auto", "--password-file", tmp_path / "password", "--store-only")
    upload(admin_client, "console", kind="automatic", credentials_text="ann\r\n s3cret \r\n")
    stored = {each.label: read(LoginKind.AUTOMATIC, each.credentials.read()) for each in Login.objects.all()}
    assert stored == dict.fromkeys(["command", "console"], Password("ann", " s3cret "))


def test_console_takes_archive_and_files(admin_client, instances):
    archive = zipped({"work/cache/user": user_file(), "work/cache/id": b"machine-1", "work/cache/db/local.db": b"x"})
    upload(admin_client, archive=file("a.zip", archive), instances=["w1-i1"])
    assert set(files_of("main")) == {"cache/user", "cache/id"}
    assert assigned() == {"w1-i1": "main"}
    page = f"{LIST}{Login.objects.get().pk}/change/"
    # Without files those that are stored stay.
    upload(admin_client, path=page, label="renamed", instances=["w1-i2"])
    assert Login.objects.get().generation == 1
    assert assigned() == {"w1-i2": "renamed"}
    two = {"user_file": file("user", user_file("bob")), "id_file": file("id", b"machine-2")}
    upload(admin_client, path=page, label="renamed", instances=["w1-i2"], **two)
    assert files_of("renamed")["cache/id"] == b"machine-2"
    assert (Login.objects.get().generation, Login.objects.get().brought_generation) == (2, 2)


@pytest.mark.parametrize("shown", [[], ["w1-i1"]])
def test_page_takes_no_login_that_came_meanwhile(admin_client, instances, shown):
    login, other = (Login.objects.create(label=label) for label in ("main", "other"))
    path = f"{LIST}{login.pk}/change/"
    for name in shown:
        InstanceOrder.objects.create(name=name, login=login)
    page = admin_client.get(path).content.decode()
    [hidden] = re.findall(r'<input[^>]*name="initial-instances"[^>]*>', page)
    sent = {"initial-instances": re.search(r'value="([^"]*)"', hidden)[1], "instances": shown}
    assert sent["initial-instances"] == ",".join(shown)
    # Another one is given to what had it, and this one to another instance.
    InstanceOrder.objects.update_or_create(name="w1-i1", defaults={"login": other})
    InstanceOrder.objects.create(name="w1-i2", login=login)
    upload(admin_client, path=path, label="renamed", **sent)
    assert InstanceOrder.objects.get(name="w1-i1").login == other
    assert InstanceOrder.objects.get(name="w1-i2").login.label == "renamed"
    upload(admin_client, path=path, label="renamed", **{"initial-instances": "w1-i2", "instances": ["w1-i1"]})
    assert [order.login and order.login.label for order in InstanceOrder.objects.order_by("name")] == ["renamed", None]


@pytest.mark.parametrize(
    ("files", "words"),
    [
        ({"archive": file("a.zip", b"no archive")}, "This is no ZIP archive"),
        ({"archive": file("a.zip", zipped({"../user": b"U", "../id": b"I"}))}, "leads out of its folder"),
        ({"user_file": file("user", b"U")}, "cache/id is missing or empty"),
        ({"credentials_file": file("token", b"T")}, "A login of this kind has no credentials"),
    ],
)
def test_console_refuses_what_is_no_login(admin_client, instances, files, words):
    page = upload(admin_client, **files).content.decode()
    assert words in page
    assert not Login.objects.exists()


def placeholders(page):
    pattern = r'<input[^>]*name="(lead_days|period_days|jitter_hours)"[^>]*placeholder="([^"]*)"'
    return dict(re.findall(pattern, page.content.decode()))


def test_empty_refresh_fields_show_what_holds(admin_client, instances, settings):
    settings.LOGIN_REFRESH = {"lead_days": 7.0, "period_days": 0.0, "jitter_hours": 1.5}
    page = admin_client.get(f"{LIST}add/")
    assert placeholders(page) == {"lead_days": "7", "period_days": "0", "jitter_hours": "1.5"}


def test_refresh_of_all_logins_is_set_there(admin_client, instances, settings):
    settings.LOGIN_REFRESH = {"lead_days": 7.0, "period_days": 0.0, "jitter_hours": 1.5}
    assert f"{LIST}refresh/" in admin_client.get(LIST).content.decode()
    page = admin_client.get(f"{LIST}refresh/", follow=True)
    path = page.redirect_chain[-1][0]
    assert placeholders(page) == {"lead_days": "7", "period_days": "0", "jitter_hours": "1.5"}
    admin_client.post(path, {"lead_days": "3", "period_days": "", "jitter_hours": "0"})
    expected = {"lead_days": "3", "period_days": "0", "jitter_hours": "0"}
    assert placeholders(admin_client.get(f"{LIST}add/")) == expected
    assert AuditEntry.objects.filter(object_type="bridge.loginrefresh", action="changed").count() == 1
    assert viewer().post(path, {"lead_days": "9"}).status_code == 403
    assert "365" in admin_client.post(path, {"lead_days": "366"}).content.decode()


@pytest.mark.parametrize(("hours", "shown"), [(1, "today"), (23, "in 1 day"), (47, "in 1 day"), (73, "in 3 days")])
def test_login_that_ends_tomorrow_is_not_today(admin_client, instances, settings, hours, shown):
    # In a zone where it is noon.
    settings.TIME_ZONE = f"Etc/GMT{timezone.now().hour - 12:+d}"
    Login.objects.create(label="main", expires_at=timezone.now() + timezone.timedelta(hours=hours))
    page = re.sub(r"<[^>]*>", "", admin_client.get(LIST).content.decode())
    assert re.search(rf"^\s*{shown}\s*$", page, re.M)


def test_api_asks_for_rights_of_the_refresh(instances):
    user = User.objects.create_user("keeper", is_staff=True)
    client, path = Client(), "/api/logins/refresh/"

    def allowed(*rights):
        user.user_permissions.set(Permission.objects.filter(codename__in=rights))
        client.force_login(user)
        page = f"/admin/bridge/loginrefresh/{LoginRefresh.ONLY}/change/"
        client.get("/admin/bridge/loginrefresh/")
        form = {"lead_days": "3", "period_days": "", "jitter_hours": ""}
        api = client.get(path).status_code, client.patch(path, "{}", "application/json").status_code
        return api, (client.get(page).status_code, client.post(page, form).status_code)

    assert allowed("view_login", "change_login") == ((403, 403), (403, 403))
    assert allowed("view_loginrefresh") == ((200, 403), (200, 403))
    assert allowed("view_loginrefresh", "change_loginrefresh") == ((200, 200), (200, 302))


def test_api_sets_refresh_of_all_logins(admin_client, instances, settings):
    settings.LOGIN_REFRESH = {"lead_days": 7.0, "period_days": 0.0, "jitter_hours": 1.5}

    def patch(client, **times):
        answer = client.patch("/api/logins/refresh/", json.dumps(times), "application/json")
        return answer.status_code, answer.json()

    before = admin_client.get("/api/logins/refresh/").json()
    assert before == {"lead_days": None, "period_days": None, "jitter_hours": None, "in_force": settings.LOGIN_REFRESH}
    status, after = patch(admin_client, period_days=30)
    assert (status, after["period_days"], after["in_force"]["period_days"], after["in_force"]["lead_days"]) == (
        200, 30, 30, 7,
    )  # fmt: skip
    assert patch(admin_client, lead_days="nan")[0] == patch(admin_client, jitter_hours=-1)[0] == 400
    client = viewer()
    assert patch(client, lead_days=1)[0] == 403
    assert client.get("/api/logins/refresh/").status_code == 200
    assert patch(admin_client, period_days=None)[1]["in_force"] == settings.LOGIN_REFRESH


def test_console_says_state_and_help(admin_client, instances, tmp_path):
    by_command("main", "--bundle", write_login(tmp_path / "a"), "--instances", "w1-i1")
    Login.objects.update(account="expired", expires_at=timezone.now() + timezone.timedelta(days=3, hours=1))
    page = admin_client.get(LIST).content.decode()
    for words in ("the login to Lingma has expired", "Log it in again.", "in 3 days", "w1-i1"):
        assert words in page
    Login.objects.update(problem="unreadable")
    assert "Add the key that they were encrypted with" in admin_client.get(LIST).content.decode()


def test_instances_without_login_get_one_evenly(admin_client, instances, tmp_path):
    for label in ("a", "b"):
        by_command(label, "--bundle", write_login(tmp_path / label))
    Login.objects.create(label="0 without files")
    Login.objects.create(label="0 without use", generation=1, account="expired")
    assert "w1-i1" in admin_client.get(f"{LIST}spread/").content.decode()
    assert assigned() == {}
    admin_client.post(f"{LIST}spread/")
    assert assigned() == {"w1-i1": "a", "w1-i2": "b"}
    assert "Every instance has a login" in admin_client.get(f"{LIST}spread/").content.decode()


def test_logins_of_gone_instances_are_free_again(admin_client, instances, settings, tmp_path):
    for label in ("a", "b"):
        by_command(label, "--bundle", write_login(tmp_path / label))
    for name in ("gone-w1-i1", "gone-w1-i2"):
        InstanceOrder.objects.create(name=name, login=Login.objects.get(label="a"))
    InstanceOrder.objects.create(name="w1-i1", login=Login.objects.get(label="b"))
    # A new one need not have been seen by others.
    assert set(spread(settings.REDIS_URL, ["new-w1-i1", "w1-i1"])) == {"new-w1-i1"}
    assert {name: label for name, label in assigned().items() if "gone" not in name} == {"w1-i1": "b", "new-w1-i1": "a"}


def test_api_has_logins_without_secrets(admin_client, instances, tmp_path):
    def call(method, path, body=None):
        answer = admin_client.generic(method, f"/api/logins/{path}", json.dumps(body or {}), "application/json")
        return answer.status_code, answer.json() if answer.content else None

    status, made = call("POST", "", {"label": "main", "kind": "browser", "instances": ["w1-i1"]})
    assert (status, made["instances"], made["generation"]) == (201, ["w1-i1"], 0)
    assert {"bundle", "credentials"}.isdisjoint(made)
    path = f"{made['id']}/"
    changed = call("PATCH", path, {"endpoint": "https://example.com", "instances": ["w1-i2"], "generation": 9})
    assert (changed[1]["endpoint"], changed[1]["instances"], changed[1]["generation"]) == (
        "https://example.com", ["w1-i2"], 0,
    )  # fmt: skip
    assert call("PATCH", path, {"instances": ["w9-i1"]})[0] == 400
    assert call("PATCH", path, {"endpoint": "file:///etc"})[0] == 400
    assert call("POST", "", {"label": "main"})[0] == 400
    assert call("DELETE", path)[0] == 204
    assert assigned() == {}


def test_viewers_look_and_change_nothing(instances, tmp_path):
    by_command("main", "--bundle", write_login(tmp_path / "a"))
    client, page = viewer(), f"{LIST}{Login.objects.get().pk}/change/"
    assert client.get(LIST).status_code == 200
    shown = client.get(page).content.decode()
    assert "not read yet" in shown
    assert 'type="file"' not in shown
    assert client.get("/api/logins/").status_code == 200
    assert upload(client).status_code == 403
    assert client.post(f"{LIST}spread/").status_code == 403
    assert client.post("/api/logins/", {"label": "x"}).status_code == 403
    assert Login.objects.count() == 1


def test_secrets_are_shown_nowhere(admin_client, instances, tmp_path, caplog):
    folder = write_login(tmp_path / "a")
    said = by_command("main", "--bundle", folder, "--instances", "w1-i1")
    Path(tmp_path / "token").write_text(SECRET)
    by_command("main", "--token-file", tmp_path / "token", "--store-only")
    page = f"{LIST}{Login.objects.get().pk}/"
    archive = zipped({"user": (folder / "user").read_bytes(), "id": b"machine-1"})
    upload(admin_client, path=f"{page}change/", kind="personal_token", archive=file("a.zip", archive))
    login = Login.objects.get()
    texts = [said, caplog.text, repr(login), str(login), repr(login.__dict__), str(read_orders())]
    pages = (LIST, f"{page}change/", f"{page}history/", f"{page}delete/", "/admin/accounts/auditentry/",
             "/api/logins/", f"/api/logins/{login.pk}/", "/api/audit/")  # fmt: skip
    texts += [admin_client.get(each).content.decode() for each in pages]
    texts += [str(row) for row in AuditEntry.objects.values()]
    assert len(texts) > 16
    for secret in (SECRET, "rt-secret-alice", "machine-1", login.bundle.token.decode(), "uid-alice"):
        assert [text[:200] for text in texts if secret in text] == []
    stored = b"".join(bytes(each.token) for each in (login.bundle, login.credentials))
    assert SECRET.encode() not in stored


def test_login_is_encrypted_again_with_others(tmp_path, settings):
    older, newer = "an older key that is long enough", "a newer key that is long enough"
    settings.SECRET_KEYS = [older]
    by_command("main", "--bundle", write_login(tmp_path / "a"))
    settings.SECRET_KEYS = [newer, older]
    call_command("rotate_secrets", stdout=StringIO())
    settings.SECRET_KEYS = [newer]
    assert files_of("main")["cache/id"] == b"machine-1"
    assert Login.objects.get().generation == 1


def test_changes_of_operators_are_recorded(instances, tmp_path):
    by_command("main", "--bundle", write_login(tmp_path / "a"), "--instances", "w1-i1")
    rows = list(AuditEntry.objects.order_by("id").values_list("source", "action", "object_type", "object_text"))
    assert rows == [
        ("command", "created", "bridge.login", "main"), ("command", "created", "bridge.instanceorder", "w1-i1"),
    ]  # fmt: skip
    assert AuditEntry.objects.order_by("id")[0].changes["bundle"] == [None, "***"]


@pytest.mark.parametrize(("rank", "endpoint"), [("superuser", "https://new.test"), ("operator", "")])
def test_endpoint_is_for_superusers(rank, endpoint, instances):
    """Whoever sets it gets the login, and everything that is asked with it."""
    user = User.objects.create_user("o", is_staff=True, is_superuser=rank == "superuser")
    user.groups.add(Group.objects.get(name="Operator"))
    client = Client()
    client.force_login(user)
    login = Login.objects.create(label="main")
    form = {"label": "renamed", "kind": "bundle", "endpoint": "https://new.test"}
    assert client.post(f"{LIST}{login.pk}/change/", form).status_code == 302
    login.refresh_from_db()
    assert (login.label, login.endpoint) == ("renamed", endpoint)
    new = {"label": "another", "endpoint": "https://new.test"}
    for path, send in ((f"/api/logins/{login.pk}/", client.patch), ("/api/logins/", client.post)):
        login.endpoint = ""
        login.save()
        answer = send(path, json.dumps(new), "application/json")
        assert (answer.status_code < 300) is (rank == "superuser")
        new = {"label": "third", "endpoint": "https://new.test"}
    assert client.patch(f"/api/logins/{login.pk}/", '{"label": "mine"}', "application/json").status_code == 200
