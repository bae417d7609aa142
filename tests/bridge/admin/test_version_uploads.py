"""A VSIX that is sent: who may, what is looked at before its bytes, and that nothing is left of what fails."""

import asyncio
import gzip
import hashlib
import json
from http.cookies import SimpleCookie
from urllib.parse import urlencode

import pytest
from asgiref.sync import sync_to_async
from django.contrib.auth.models import Group, User
from django.core.asgi import get_asgi_application
from django.middleware.csrf import _get_new_csrf_string
from django.test import Client
from django.urls import reverse

from accounts.api.tokens import issue
from accounts.models import AuditEntry
from bridge.models import Version
from gateway_project.server import spool
from gateway_project.server.bodies import BoundedBodies
from gateway_project.server.pages import Pages
from gateway_project.server.uploads import UPLOADS, Uploads
from tests.bridge.lingma.test_vsix import HERE, packed

pytestmark = pytest.mark.django_db(transaction=True)
PAGE, API = "/admin/bridge/version/upload/", "/api/versions/"
VSIX = packed({f"2.11.1/{HERE}/Lingma": "lingma"})
TOKEN = _get_new_csrf_string()
MOST = 1 << 20


@pytest.fixture
def data_dir(tmp_path, settings):
    settings.DATA_DIR = tmp_path / "data"
    return settings.DATA_DIR


@pytest.fixture
def application(data_dir):
    return uploads(data_dir)


def uploads(data_dir, most=MOST):
    django = BoundedBodies(Pages(get_asgi_application()))
    return Uploads(django, data_dir / "uploads", most, {PAGE: True, API: False})


@sync_to_async
def person(group=None):
    """Headers of somebody who is logged in; a superuser, or of that group."""
    user = User.objects.create_user("ann", is_staff=True, is_superuser=group is None)
    if group:
        user.groups.add(Group.objects.get(name=group))
    client = Client()
    client.force_login(user)
    cookies = SimpleCookie({"csrftoken": TOKEN, "sessionid": client.cookies["sessionid"].value})
    return [(b"cookie", "; ".join(f"{each.key}={each.value}" for each in cookies.values()).encode())]


@sync_to_async
def program(group=None):
    user = User.objects.create_user("bot", is_staff=True, is_superuser=group is None)
    return [(b"authorization", f"Token {issue(user, None, ())}".encode())]


class Sent:
    """A POST, in pieces; `asked` says how many of them were wanted."""

    def __init__(self, path, headers, body, *, query="", size=1000, length=None, hangs_up=False):
        announced = [(b"content-length", b"%d" % length)] if length is not None else []
        self.scope = {
            "type": "http", "asgi": {"version": "3.0"}, "http_version": "1.1", "method": "POST", "scheme": "http",
            "path": path, "raw_path": path.encode(), "query_string": query.encode(), "root_path": "",
            "headers": [(b"host", b"localhost"), *headers, *announced], "client": ("127.0.0.1", 9),
            "server": ("127.0.0.1", 80),
        }  # fmt: skip
        self.pieces = [body[at : at + size] for at in range(0, len(body), size)] or [b""]
        self.asked, self.messages, self._hangs_up = 0, [], hangs_up

    async def receive(self):
        self.asked += 1
        if self.asked > len(self.pieces):
            return {"type": "http.disconnect"}
        more = self.asked < len(self.pieces) or self._hangs_up
        return {"type": "http.request", "body": self.pieces[self.asked - 1], "more_body": more}

    async def send(self, message):
        self.messages.append(message)

    async def to(self, application):
        async with asyncio.timeout(60):
            await application(self.scope, self.receive, self.send)
        return self

    @property
    def status(self):
        return self.messages[0]["status"] if self.messages else None

    @property
    def headers(self):
        return {name.lower(): value for name, value in self.messages[0]["headers"]}

    @property
    def text(self):
        return b"".join(each.get("body", b"") for each in self.messages[1:]).decode()


def form(file=VSIX, token=TOKEN, **fields):
    fields = ({"csrfmiddlewaretoken": token} if token else {}) | fields
    parts = [f'--B\r\nContent-Disposition: form-data; name="{name}"\r\n\r\n{fields[name]}\r\n' for name in fields]
    head = '--B\r\nContent-Disposition: form-data; name="file"; filename="x.vsix"\r\n\r\n'
    return "".join([*parts, head]).encode() + file + b"\r\n--B--\r\n"


KIND = [(b"content-type", b"multipart/form-data; boundary=B")]
ALONE = [(b"content-type", b"application/octet-stream")]
SCRIPT = [(b"x-requested-with", b"fetch")]


def left(data_dir):
    """Files that are no version."""
    return sorted(each.name for each in data_dir.rglob("*") if each.is_file() and each.name not in ("lock", "Lingma"))


async def test_paths_are_those_of_the_pages():
    assert {reverse("admin:bridge_version_upload"): True, reverse("version-list"): False} == UPLOADS


async def test_form_installs_and_leads_to_the_list(application, data_dir):
    sent = await Sent(PAGE, await person() + KIND, form(default="on")).to(application)
    assert (sent.status, sent.headers[b"location"]) == (302, b"/admin/bridge/version/")
    row = await Version.objects.aget()
    assert (row.version, row.is_default, row.archive_sha256) == ("2.11.1", True, hashlib.sha256(VSIX).hexdigest())
    assert (data_dir / "binaries" / "2.11.1" / HERE / "Lingma").read_text() == "lingma"
    assert left(data_dir) == []
    found = await AuditEntry.objects.filter(object_type="bridge.version").afirst()
    assert (found.source, found.actor) == ("console", "ann")


async def test_script_is_told_where_to_go_on(application):
    headers = await person() + KIND + SCRIPT
    assert json.loads((await Sent(PAGE, headers, form()).to(application)).text) == {"next": "/admin/bridge/version/"}
    sent = await Sent(PAGE, headers, form(b"no zip")).to(application)
    error = json.loads(sent.text)["error"]
    assert (sent.status, error.startswith("upload.vsix is damaged or no VSIX")) == (400, True), error


@pytest.mark.parametrize("group", ["Operator", "Viewer"])
async def test_uploads_of_others_are_refused_unread(application, data_dir, group):
    sent = await Sent(PAGE, await person(group) + KIND, form()).to(application)
    assert (sent.status, sent.asked, sent.headers[b"connection"]) == (403, 0, b"close")
    bot = await Sent(API, await program(group) + ALONE, VSIX).to(application)
    assert (bot.status, bot.asked) == (403, 0)
    assert not (data_dir / "uploads").exists()


async def test_strangers_are_sent_to_log_in(application):
    sent = await Sent(PAGE, KIND, form()).to(application)
    assert (sent.status, sent.asked) == (302, 0)
    assert b"/login/" in sent.headers[b"location"]
    assert (await Sent(API, ALONE, VSIX).to(application)).status == 401


@pytest.mark.parametrize("token", ["", _get_new_csrf_string()], ids=["none", "another"])
async def test_forged_form_is_refused_before_its_file(application, data_dir, token):
    sent = await Sent(PAGE, await person() + KIND, form(bytes(500_000), token=token)).to(application)
    assert (sent.status, sent.asked < 4) == (403, True)
    assert not await Version.objects.aexists()
    assert left(data_dir) == []


async def test_browser_needs_its_token_for_the_api(application):
    headers = await person() + ALONE
    sent = await Sent(API, headers, VSIX).to(application)
    assert (sent.status, sent.asked) == (403, 0)
    assert (await Sent(API, [*headers, (b"x-csrftoken", TOKEN.encode())], VSIX).to(application)).status == 201


@pytest.mark.parametrize("kind", [KIND, ALONE], ids=["form", "alone"])
async def test_api_takes_it_either_way(application, data_dir, kind):
    query = {"sha256": hashlib.sha256(VSIX).hexdigest(), "default": "true"}
    body = form(token="", **query) if kind is KIND else VSIX
    sent = await Sent(API, await program() + kind, body, query="" if kind is KIND else urlencode(query)).to(application)
    row = json.loads(sent.text)
    assert sent.status == 201, sent.text
    assert (sent.status, row["version"], row["is_default"]) == (201, "2.11.1", True)
    assert left(data_dir) == []


async def test_digest_with_gzip_around_is_that_of_either(application):
    wrapped, headers = gzip.compress(VSIX), await program() + ALONE
    for data, status in ((wrapped, 201), (VSIX, 201), (b"other", 400)):
        query = urlencode({"sha256": hashlib.sha256(data).hexdigest()})
        assert (await Sent(API, headers, wrapped, query=query).to(application)).status == status


@pytest.mark.parametrize(
    ("kind", "body", "length", "status", "asked"),
    [
        (ALONE, bytes(MOST + 1), MOST * 2, 413, 0),
        (ALONE, bytes(MOST + 5000), None, 413, MOST // 1000 + 1),
        (KIND, form(bytes(MOST + 5000)), None, 413, None),
        (ALONE, b"", None, 400, 1),
        (KIND, form(b""), None, 400, 1),
        (KIND, form()[:-20], None, 400, None),
        (KIND, form() + bytes(100_000), None, 400, None),
        (KIND, form(long="x" * 5000), None, 400, None),
        (KIND, form(**{f"f{number}": "x" for number in range(20)}), None, 400, None),
        ([(b"content-type", b"application/json")], b"{}", None, 415, 0),
    ],
)  # fmt: skip
async def test_useless_upload_leaves_no_files(application, data_dir, kind, body, length, status, asked):
    sent = await Sent(API, await program() + kind, body, length=length).to(application)
    assert (sent.status, asked in (None, sent.asked)) == (status, True)
    assert sent.headers[b"content-type"] == b"application/problem+json"
    assert json.loads(sent.text)["detail"]
    assert left(data_dir) == []
    assert not await Version.objects.aexists()


async def test_page_says_what_is_wrong(application):
    headers = [*await person(), *KIND, (b"accept-language", b"zh-CN")]
    sent = await Sent(PAGE, headers, form(), length=MOST * 2).to(application)
    assert (sent.status, sent.asked) == (413, 0)
    assert 'data-error="">' not in sent.text
    assert "LINGMA_UPLOAD_MAX_BYTES" in sent.text
    assert "<form" in sent.text
    assert "The file is larger" not in sent.text


async def test_full_disk_is_told_and_harms_nobody(application, data_dir, monkeypatch):
    monkeypatch.setattr(spool, "RESERVE", 1 << 60)
    sent = await Sent(API, await program() + ALONE, VSIX).to(application)
    assert (sent.status, sent.asked) == (507, 0)
    assert "no room" in json.loads(sent.text)["detail"]
    assert left(data_dir) == []


async def test_upload_hung_up_leaves_no_files(application, data_dir):
    sent = await Sent(API, await program() + ALONE, VSIX, hangs_up=True).to(application)
    assert (sent.status, left(data_dir)) == (None, [])
    assert not await Version.objects.aexists()


async def test_upload_beside_another_is_409(application, data_dir):
    headers, going = await program() + ALONE, asyncio.Event()

    class Slow(Sent):
        async def receive(self):
            if self.asked:
                await going.wait()
            return await super().receive()

    first = asyncio.create_task(Slow(API, headers, VSIX, size=100).to(application))
    async with asyncio.timeout(60):
        while not (data_dir / "uploads" / "upload.vsix").exists():
            await asyncio.sleep(0.01)
    # As another process would, which has no more in common than the disk.
    assert (await Sent(API, headers, VSIX).to(uploads(data_dir))).status == 409
    going.set()
    assert (await first).status == 201
    assert (await Sent(API, headers, VSIX).to(application)).status == 201


async def test_uploads_can_be_switched_off(data_dir):
    sent = await Sent(API, await program() + ALONE, VSIX).to(uploads(data_dir, 0))
    assert (sent.status, sent.asked) == (403, 0)
    assert "LINGMA_UPLOAD_MAX_BYTES" in sent.text
