"""Contents of turns with real processes: the whole gateway, as `make run` starts it."""

import http.client
import json
import re
import sqlite3
from contextlib import closing

import pytest
import redis

from gateway_project.lib.secrets.key_secret import generate
from tests.directories import copy
from tests.e2e.formats import FORMATS, OPENAI, Stream, send
from tests.e2e.installation import PASSWORD, SIMULATOR, django, environment, until
from tests.gateway_project import gateway as whole
from tests.prepared import manage

OLD, NEW = "the old key of this installation", "the new key of this installation"
LOGGED, PLAIN = generate(), generate()
PEOPLE = f"""
import json
from django.conf import settings
from django.contrib.auth.models import Group, User
from django.test import Client
from accounts.api.tokens import issue
from accounts.models import ApiKey
for name, secret in (("logged", {LOGGED!r}), ("unlogged", {PLAIN!r})):
    key = ApiKey(name=name)
    key.adopt(secret, settings.KEY_PEPPER)
    key.save()
User.objects.create_superuser("reader", password={PASSWORD!r})
operator = User.objects.create_user("operator", password={PASSWORD!r}, is_staff=True)
operator.groups.set(Group.objects.filter(name="Operator"))
made = {{"token": issue(operator, None, ()), "key": ApiKey.objects.get(name="logged").pk}}
for user in User.objects.filter(username__in=["reader", "operator"]):
    client = Client()
    client.force_login(user)
    made[user.username] = client.cookies["sessionid"].value
print(json.dumps(made))
"""
ROTATE_BACK = f"""
from django.core.management import call_command
from django.test import override_settings
with override_settings(SECRET_KEYS=[{OLD!r}, {NEW!r}]):
    call_command("rotate_secrets")
"""
PRUNE = """
from django.core.management import call_command
from django.test import override_settings
with override_settings(CONTENT_RETENTION_DAYS=0):
    call_command("prune_usage")
"""


class Installation:
    """A whole gateway, with a superuser `reader` and an `operator`."""

    def __init__(self, data_dir):
        self.data_dir = data_dir
        self.running = whole.Gateway(data_dir, **SIMULATOR, SECRET_KEYS=OLD)
        self.port = self.running.port

    def prepare(self):
        self.running.complete()
        self.made = json.loads(django(self.data_dir, PEOPLE, SECRET_KEYS=OLD))
        self.log(on=True)
        until(lambda: _is_kept(self))  # followed within a second by every process

    def log(self, on):
        headers = {"Authorization": f"Token {self.made['token']}", "Content-Type": "application/json"}
        body = json.dumps({"content_logging": on})
        with closing(http.client.HTTPConnection("127.0.0.1", self.port, timeout=60)) as connection:
            connection.request("PATCH", f"/api/keys/{self.made['key']}/", body, headers)
            assert connection.getresponse().status == 200

    def explained(self, request_id, user="reader"):
        """The page about a request, as somebody sees it who has logged in."""
        session = {"Cookie": f"sessionid={self.made[user]}"}
        return send(self, "GET", f"/usage/r/{request_id}", headers=session).body.decode()

    def contents(self):
        """Request ids of what is kept, out of the table."""
        return {id_ for (id_,) in self.query("SELECT request_id FROM accounts_usagecontent")}

    def filed(self, request_id):
        return bool(self.query("SELECT 1 FROM accounts_usage WHERE request_id = ?", request_id))

    def query(self, sql, *values):
        with closing(sqlite3.connect(self.data_dir / "gateway.sqlite3")) as database:
            return database.execute(sql, values).fetchall()

    def waiting(self):
        """Contents that are not filed yet."""
        with redis.Redis(unix_socket_path=str(self.data_dir / "redis.sock")) as client:
            return client.xlen("lgw:content")

    def chat(self, wire, prompt, *, key=LOGGED, stream=False):
        answer = send(self, "POST", wire.path, key=key, body=wire.body(prompt, stream=stream))
        assert answer.status == 200
        return answer.headers["x-request-id"]


@pytest.fixture(scope="module")
def installation(tmp_path_factory, template):
    made = Installation(copy(template, tmp_path_factory.mktemp("content")))
    with made.running:
        made.prepare()
        yield made


@pytest.mark.parametrize("stream", [False, True], ids=["plain", "streamed"])
@pytest.mark.parametrize("wire", FORMATS, ids=str)
def test_turn_is_shown_to_who_may(installation, wire, stream):
    prompt = f"[[sim: text=An-answer-of-{wire.path}]] What is it? My key is {PLAIN}, mail me@example.com."
    id_ = installation.chat(wire, prompt, stream=stream)
    until(lambda: id_ in installation.contents() and installation.filed(id_))
    text = installation.explained(id_)
    assert "What is it?" in text
    assert re.search(rf"<pre[^>]*>An-answer-of-{wire.path}</pre>", text)
    assert PLAIN not in text
    assert "[API key]" in text
    assert "[e-mail]" in text
    for_others = installation.explained(id_, "operator")
    assert "What this key sends and receives is kept for 7 days." in for_others
    assert "What is it?" not in for_others


def test_each_look_is_in_the_audit_log(installation):
    id_ = installation.chat(OPENAI, "[[sim: text=b]] b")
    until(lambda: id_ in installation.contents() and installation.filed(id_))
    installation.explained(id_)
    rows = installation.query(
        "SELECT actor, object_text FROM accounts_auditentry WHERE action = 'viewed' AND object_id = ?", id_
    )
    assert [(actor, text.startswith(id_)) for actor, text in rows] == [("reader", True)]


def test_keys_without_it_leave_nothing(installation):
    id_ = installation.chat(OPENAI, "[[sim: text=c]] not to be kept", key=PLAIN)
    later = installation.chat(OPENAI, "[[sim: text=d]] d")
    until(lambda: later in installation.contents() and installation.filed(id_))
    assert id_ not in installation.contents()
    assert "not to be kept" not in installation.explained(id_)


def test_content_is_not_kept_when_switched_off(installation):
    installation.log(on=False)
    try:
        until(lambda: not _is_kept(installation))  # the process has followed
        assert not _is_kept(installation)
    finally:
        installation.log(on=True)
        until(lambda: _is_kept(installation))


def _is_kept(installation):
    id_ = installation.chat(OPENAI, "[[sim: text=e]] e")
    until(lambda: installation.filed(id_))
    # Its content comes in the same flush as its row, or is not there.
    until(lambda: installation.waiting() == 0)
    return id_ in installation.contents()


def test_worker_away_delays_contents_alone(installation):
    worker = installation.running.descendant("celery", "worker")
    worker.suspend()
    try:
        id_ = installation.chat(OPENAI, "[[sim: text=i]] i")
        until(lambda: installation.waiting() == 1)
        assert id_ not in installation.contents()
    finally:
        worker.resume()
    until(lambda: id_ in installation.contents() and installation.filed(id_))


def test_hang_up_leaves_what_was_sent(installation):
    prompt = "[[sim: text=The-beginning.-And-then-more. delay_ms=300]] A long story."
    with Stream(installation, OPENAI, prompt, key=LOGGED) as stream:
        stream.until(b"The")
        stream.hang_up()
        id_ = stream.request_id
    until(lambda: id_ in installation.contents() and installation.filed(id_))
    text = installation.explained(id_)
    assert "A long story." in text


def test_contents_on_disk_are_encrypted(installation):
    id_ = installation.chat(OPENAI, "[[sim: text=f]] a-word-that-is-nowhere")
    until(lambda: id_ in installation.contents())
    written = [path for path in installation.data_dir.rglob("*") if "instances" not in path.parts]
    assert [path for path in written if b"a-word-that-is-nowhere" in content_of(path)] == []


def content_of(path):
    """What a file holds; nothing where there is none, or none any more: the gateway is at work."""
    try:
        return path.read_bytes() if path.is_file() else b""
    except FileNotFoundError:
        return b""


def test_secrets_are_rotated_by_command(installation):
    id_ = installation.chat(OPENAI, "[[sim: text=g]] still readable")
    until(lambda: id_ in installation.contents())
    done = command(installation, "rotate_secrets", SECRET_KEYS=f"{NEW},{OLD}")
    assert done.returncode == 0
    assert re.fullmatch(r"Encrypted \d+ secrets? with the first of SECRET_KEYS; 0 were so already.\n", done.stdout)
    # The gateway that runs has the old key alone.
    assert "not among SECRET_KEYS" in installation.explained(id_)
    done = command(installation, "rotate_secrets", SECRET_KEYS="a key that nobody has ever used")
    assert done.returncode == 1
    assert "cannot be read with any key" in done.stderr
    assert done.stderr.count("\n") == 1
    django(installation.data_dir, ROTATE_BACK, SECRET_KEYS=OLD)
    assert "still readable" in installation.explained(id_)


def command(installation, *arguments, **settings):
    return manage(*arguments, env=environment(installation.data_dir, **settings))


def test_pruned_content_is_gone_but_not_its_row(installation):
    id_ = installation.chat(OPENAI, "[[sim: text=h]] to be pruned")
    until(lambda: id_ in installation.contents() and installation.filed(id_))
    assert re.search(r"and \d+ logged contents, from before", django(installation.data_dir, PRUNE, SECRET_KEYS=OLD))
    assert (id_ in installation.contents(), installation.filed(id_)) == (False, True)


def test_contents_are_in_no_log_line(installation):
    id_ = installation.chat(OPENAI, "[[sim: text=a-secret-answer]] a-secret-question")
    until(lambda: id_ in installation.contents())
    assert not [line for line in installation.running.lines if "a-secret" in line]
