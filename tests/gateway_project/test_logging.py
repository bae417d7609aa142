"""Log lines, as a real process writes them."""

import json
import os
import subprocess
import sys
import textwrap

import pytest

from gateway_project.env import BASE_DIR
from gateway_project.lib.secrets.redaction import redacted
from tests.prepared import run_code

SECRET = "lgw_Ab3dEf7h_0123456789abcdefghijABCDEFGHIJ01Zz9Yy8"

START = """
import logging.config
from gateway_project.logging import config
logging.config.dictConfig(config("INFO", FORMAT))
log = logging.getLogger("bridge.test")
"""


def logged(program, form="text"):
    """What a process that runs the program writes to standard error."""
    code = f"FORMAT = {form!r}\n{START}\n{textwrap.dedent(program)}"
    done = run_code(code)
    assert done.stdout == ""
    return done.stderr


def test_text_line_has_level_logger_message_fields():
    line = logged('log.warning("it is %s", "slow", extra={"fields": {"ms": 7, "why": "no room", "key": ""}})')
    assert line.endswith("WARNING bridge.test: it is slow ms=7 why='no room' key=-\n")


def test_a_line_for_machines_is_one_object():
    line = logged('log.error("it broke", extra={"fields": {"ms": 7, "where": None}})', "json")
    seen = json.loads(line)
    assert seen.pop("time").endswith("Z")
    assert seen == {"level": "ERROR", "logger": "bridge.test", "message": "it broke", "ms": 7, "where": None}


FAILURE = f"""
try:
    raise ValueError("{SECRET}")
except ValueError:
    log.exception("it failed")
"""


def test_a_traceback_stays_on_one_line_for_machines():
    (line,) = logged(FAILURE, "json").splitlines()
    assert "ValueError" in json.loads(line)["error"]


@pytest.mark.parametrize("form", ["text", "json"])
def test_secrets_never_leave_even_in_tracebacks(form):
    written = logged(FAILURE, form)
    assert SECRET not in written
    assert "lgw_Ab3dEf7h…" in written


@pytest.mark.parametrize(
    ("text", "clean"),
    [
        (f"key {SECRET}.", "key lgw_Ab3dEf7h…."),
        (f"Authorization: Bearer {SECRET}", "Authorization: Bearer lgw_Ab3dEf7h…"),
        ('{"authorization": "bearer eyJhbGciOi.J9-x_y"}', '{"authorization": "bearer …"}'),
        ("imported lgw_my-own-password-1", "imported lgw_…"),
        ("x-api-key: made-up-by-somebody", "x-api-key: …"),
        ("redis://user:hunter2@host:6379/0", "redis://user:…@host:6379/0"),
        ("key=lgw_Ab3dEf7h status=ok", "key=lgw_Ab3dEf7h status=ok"),
        ("keys lgw:instance:w1-i1 and lgw_short", "keys lgw:instance:w1-i1 and lgw_short"),
        ("Authorization: Basic dXNlcjpodW50ZXIyMg==", "Authorization: Basic …"),
        ("sent basic dXNlcjpodW50ZXIyMg== along", "sent basic … along"),
        ("Basic authentication is needed", "Basic authentication is needed"),
        ("ws://127.0.0.1:1/x?token=s3cret&y=1", "ws://127.0.0.1:1/x?token=…&y=1"),
        ("GET /x?key=AIzaSyabc&y=2", "GET /x?key=…&y=2"),
        ("/auth/callback?state=a1&auth=b2&token=c3-d4-e5", "/auth/callback?state=…&auth=…&token=…"),
        ("api_key=abcdefgh apiKey: 'abcdefgh'", "api_key=… apiKey: '…'"),
        ("Cosy-MachineToken: abc123def", "Cosy-MachineToken: …"),
        (
            '{"securityOauthToken":"pt-ab12c", "refreshToken":"rt-123456"}',
            '{"securityOauthToken":"…", "refreshToken":"…"}',
        ),
        (r'"{\"token\": \"abcdefgh\"}"', r'"{\"token\": \"…\"}"'),
        ("Cookie: sessionid=abc; csrftoken=def", "Cookie: …"),
        ("[(b'x-api-key', b'made-up'), (b'cookie', b'a=b')]", "[(b'x-api-key', b'…'), (b'cookie', b'…')]"),
        ("https://ghp_0123456789abcdef0123@example.com/x", "https://…@example.com/x"),
        ("postgres://user:p@ss@host/db", "postgres://user:…@host/db"),
        ("read with pt-0123456789abcdef", "read with pt-…"),
        (r'{"x": "A\nsk-0123456789abcdef"}', r'{"x": "A\nsk-…"}'),
        ("密钥sk-0123456789abcdef", "密钥sk-…"),
        ("a eyJhbGciOiJI.eyJzdWIiOiIx.abc", "a eyJ…"),
        ("an eyJhbGciOiJI or eyJhbGciOiJI-eyJ. alone", "an eyJhbGciOiJI or eyJhbGciOiJI-eyJ. alone"),
        ("prompt_tokens=12345678 first_token_ms=1234567", "prompt_tokens=12345678 first_token_ms=1234567"),
    ],
)
def test_secrets_are_recognised(text, clean):
    assert redacted(text) == clean


@pytest.mark.parametrize("text", ["eyJ-", "eyJ.", "sk-", "://a:", "lgw_-", "key='", "token ", "?akey", "basic aaaaaa"])
def test_long_text_is_scanned_once(text):
    """Twice as long a text may cost twice as much; a quadratic search takes minutes for this one."""
    program = f"from gateway_project.lib.secrets.redaction import redacted\nprint(len(redacted({text!r} * 100_000)))"
    assert int(run_code(program).stdout) > 0


@pytest.mark.parametrize("form", ["text", "json"])
@pytest.mark.parametrize(
    "program",
    [
        'log.warning("Not Found: %s", "/x" * 100_000)',
        'log.warning("turn", extra={"fields": {"model": "x" * 100_000}})',
        'try:\n    raise ValueError("x" * 100_000)\nexcept ValueError:\n    log.exception("it failed")',
    ],
    ids=["message", "field", "trace"],
)
def test_one_long_text_does_not_fill_the_log(program, form):
    assert len(logged(program, form)) < 40_000


HOSTILE = r"\x1b[2J\x9b31m\u202egnp.exe\u2066\u200b\x07\r\n2026-01-01T00:00:00.000Z ERROR   root: forged\ud83d"


@pytest.mark.parametrize("form", ["text", "json"])
@pytest.mark.parametrize(
    "program",
    [
        f'log.info("asked for {HOSTILE}")',
        f'log.info("turn", extra={{"fields": {{"model": "{HOSTILE}", "ms": 7}}}})',
        f'log.info("turn", extra={{"fields": {{"models": ["{HOSTILE}"], "ms": 7}}}})',
        f'try:\n    raise ValueError("{HOSTILE}")\nexcept ValueError:\n    log.exception("it failed")',
    ],
    ids=["message", "field", "list", "trace"],
)
def test_log_text_cannot_steer_terminals_or_forge_lines(program, form):
    written = logged(program, form)
    assert all(line.isprintable() for line in written.splitlines())
    assert [line for line in written.splitlines() if line.startswith("2026-01-01")] == []
    assert "is broken" not in written
    assert "u202egnp.exe" in written


def test_json_lines_keep_the_text_unchanged():
    line = logged(r'log.info("turn", extra={"fields": {"model": "\u202e \U000e0041\x7f 通义"}})', "json")
    assert json.loads(line)["model"] == "\u202e \U000e0041\x7f 通义"


TURN = f"""
from accounts.ledger.row import UsageRow
from bridge.telemetry.turn_log import turn_line
row = UsageRow(
    request_id="r1", api_key_id=1, team_id=2, started_at=0,
    protocol="openai", endpoint="chat", model="gpt {SECRET}", lingma_model="org_auto",
    instance="w1-i1", session="reused", stream=True, status="ok", reason="stop", queue_ms=1, first_token_ms=20,
    total_ms=300, prompt_tokens=4, completion_tokens=5, usage_source="upstream",
    agent="codex", tools="2 parsed; denied run_in_terminal",
)
turn_line(row, "lgw_Ab3dEf7h")
"""


def test_a_turn_is_one_line_with_its_figures():
    seen = json.loads(logged(TURN, "json"))
    assert (seen["message"], seen["logger"], seen["level"]) == ("turn", "bridge.turn", "INFO")
    assert (seen["request_id"], seen["key"], seen["status"]) == ("r1", "lgw_Ab3dEf7h", "ok")
    assert (seen["queue_ms"], seen["first_token_ms"], seen["total_ms"]) == (1, 20, 300)
    assert (seen["prompt_tokens"], seen["completion_tokens"], seen["usage_source"]) == (4, 5, "upstream")
    assert (seen["agent"], seen["tools"]) == ("codex", "2 parsed; denied run_in_terminal")


def test_key_sent_as_model_is_not_logged():
    assert SECRET not in logged(TURN)


def test_lines_of_a_forked_child_are_written_too():
    program = """
    import os, warnings
    warnings.simplefilter("ignore", DeprecationWarning)  # from 3.12 on Python warns of a fork beside threads
    log.info("parent")
    if os.fork() == 0:
        log.info("child")
        logging.shutdown()
        os._exit(0)
    os.wait()
    """
    assert {"parent", "child"} == {line.rpartition(" ")[2] for line in logged(program).splitlines()}


def test_unprintable_record_does_not_end_the_log():
    lines = logged('log.info("%d", "no number")\nlog.info("still here")').splitlines()
    assert "is broken" in lines[0]
    assert lines[1].endswith("still here")


def test_chatter_is_left_out():
    assert logged('logging.getLogger("celery.app.trace").info("Task succeeded")') == ""


def test_django_logs_in_the_format_of_the_environment(tmp_path):
    env = os.environ | {
        "LOG_FORMAT": "json",
        "DATA_DIR": str(tmp_path),
        "DJANGO_SETTINGS_MODULE": "gateway_project.settings",
    }
    code = 'import django, logging; django.setup(); logging.getLogger("django.request").warning("Not Found: /x")'
    done = run_code(code, env=env)
    assert json.loads(done.stderr)["message"] == "Not Found: /x"


REFUSED = """
import django, io
django.setup()
from django.conf import settings
from django.db import connection
from django.test import Client
settings.STORAGES["staticfiles"]["BACKEND"] = "django.contrib.staticfiles.storage.StaticFilesStorage"
settings.DATA_UPLOAD_MAX_MEMORY_SIZE = 1000
client = Client(raise_request_exception=False, headers={"host": "localhost"})
form = {"content_type": "application/x-www-form-urlencoded"}
print(client.get("/admin/", headers={"host": "evil.example"}).status_code)
print(client.post("/admin/login/", b"a=" + b"x" * 2000, **form).status_code)
print(client.post("/admin/login/", b"a&" * 400 + b"b", **form, headers={"host": "x"}).status_code)
print(client.post("/admin/login/", b"--x", content_type="multipart/form-data; boundary=").status_code)
client.handler.enforce_csrf_checks = True
print(client.post("/admin/login/", {"username": "a"}).status_code)
print(client.get("/nowhere/%1b[2J%0aforged").status_code)
"""


def test_a_request_that_django_refuses_costs_one_line(tmp_path):
    (tmp_path / "static").mkdir()
    env = os.environ | {"DATA_DIR": str(tmp_path), "DJANGO_SETTINGS_MODULE": "gateway_project.settings"}
    done = run_code(REFUSED, env=env)
    assert done.stdout.split() == ["400", "400", "400", "400", "403", "404"]
    lines = done.stderr.splitlines()
    assert [line.split()[1] for line in lines] == ["WARNING"] * 6
    assert "DisallowedHost" in lines[0]


OPERATORS = """
from gateway_project.settings import *
LOGGING["formatters"]["own"] = {"format": "%(levelname)s %(process)d %(message)s %(fields)s"}
LOGGING["handlers"] |= {
    "own": {"class": "logging.FileHandler", "filename": "own.log", "formatter": "own", "filters": ["without_secrets"]},
    "ours": {"class": "logging.FileHandler", "filename": "ours.log", "formatter": "json"},
}
LOGGING["root"]["handlers"] += ["own", "ours"]
"""


def test_operators_add_handlers_the_django_way(tmp_path):
    (tmp_path / "operators.py").write_text(OPERATORS)
    env = os.environ | {"DATA_DIR": str(tmp_path), "DJANGO_SETTINGS_MODULE": "operators"}
    env["PYTHONPATH"] = f"{tmp_path}{os.pathsep}{BASE_DIR}"
    program = f"import django, logging\ndjango.setup()\nlog = logging.getLogger('x')\n{TURN}{FAILURE}"
    command = [sys.executable, "-c", program]
    done = subprocess.run(command, cwd=tmp_path, env=env, capture_output=True, text=True, check=True)
    own, ours = (tmp_path / "own.log").read_text(), (tmp_path / "ours.log").read_text()
    for written in (done.stderr, own, ours):
        assert SECRET not in written
        assert "is broken" not in written
        assert "org_auto" in written
        assert "ValueError: lgw_Ab3dEf7h…" in written
    assert own.startswith("INFO ")
    assert [json.loads(line)["message"] for line in ours.splitlines()] == ["turn", "it failed"]
