"""The executable and the instances."""

import json
import socket
from datetime import UTC, datetime

import pytest

from bridge.doctor import upstream
from bridge.fleet import orders
from bridge.fleet.orders import Action
from bridge.models import Version
from bridge.status.accounts import AccountState
from bridge.status.wanted import Maintenance, Mode
from tests.ports import free_port


def script(tmp_path, text):
    path = tmp_path / "Lingma"
    path.write_text(text)
    path.chmod(0o755)
    return str(path)


def test_simulator_is_reported_loudly(installed, findings):
    [(level, text)] = findings(upstream.lingma, installed())
    assert level == "warn"
    assert "every answer is made up" in text


@pytest.mark.django_db
@pytest.mark.parametrize("is_default", [True, False])
def test_installed_version_answers_while_nothing_runs(installed, findings, is_default):
    Version.objects.create(version="2.11.1", archive_sha256="a" * 64, is_default=is_default)
    state = installed()
    state.database_answers = True
    said = [("ok", "a version that was installed is the default")]
    assert (findings(upstream.lingma, state) == said) is is_default


def test_executable_shows_version_and_sees_no_secret(installed, findings, tmp_path):
    path = script(tmp_path, '#!/bin/sh\necho "version: 2.11.1 ${ADMIN_TOKEN:-blind} $1"\n')
    state = installed(LINGMA_BIN=path, ADMIN_TOKEN="canary-canary-canary")
    assert findings(upstream.lingma, state) == [("ok", f"{path}, version: 2.11.1 blind version")]


@pytest.mark.parametrize(
    ("text", "level"), [("#!/bin/sh\nexit 3\n", "warn"), ("#!/bin/sh\nsleep 9\n", "warn"), ("no program", "fail")]
)
def test_an_executable_that_is_none(installed, findings, tmp_path, monkeypatch, text, level):
    monkeypatch.setattr(upstream, "VERSION_SEC", 0.2)
    assert findings(upstream.lingma, installed(LINGMA_BIN=script(tmp_path, text)))[0][0] == level


@pytest.mark.parametrize(("held", "level"), [(True, "fail"), (False, "warn")])
def test_a_vsix_that_is_not_unpacked(installed, findings, held, level):
    state = installed(held=held, LINGMA_VSIX="https://example.com/lingma.vsix")
    assert findings(upstream.lingma, state)[0][0] == level


def test_services_to_attach_to_are_dialled(installed, findings):
    with socket.create_server(("127.0.0.1", 0)) as server:
        urls = f"ws://127.0.0.1:{server.getsockname()[1]},ws://127.0.0.1:{free_port()}"
        assert [level for level, _ in findings(upstream.lingma, installed(LINGMA_ATTACH_URLS=urls))] == ["ok", "fail"]


def test_a_service_is_found_by_its_work_dir(installed, findings, tmp_path):
    with socket.create_server(("127.0.0.1", 0)) as server:
        (tmp_path / ".info.json").write_text(json.dumps({"websocketPort": server.getsockname()[1]}))
        places = f"{tmp_path},{tmp_path.as_uri()}/.info.json,{tmp_path}/nowhere"
        assert [level for level, _ in findings(upstream.lingma, installed(LINGMA_ATTACH_URLS=places))] == [
            "ok",
            "ok",
            "fail",
        ]


def test_unreadable_service_ends_no_other_finding(installed, findings, tmp_path):
    places = [tmp_path / name for name in ("deep", "odd", "there")]
    with socket.create_server(("127.0.0.1", 0)) as server:
        texts = ("[" * 100_000, '{"websocketPort": "many"}', f'{{"websocketPort": {server.getsockname()[1]}}}')
        for place, text in zip(places, texts, strict=True):
            place.mkdir()
            (place / ".info.json").write_text(text)
        state = installed(LINGMA_ATTACH_URLS=",".join(map(str, places)))
        assert [level for level, _ in findings(upstream.lingma, state)] == ["fail", "fail", "ok"]


@pytest.mark.parametrize(
    ("state", "level", "advice"),
    [
        ("ready", "ok", "2.11.1"),
        ("login_required", "fail", "cache/user and cache/id"),
        ("backoff", "fail", "logs/lingma.log"),
        ("starting", "warn", "Look again"),
        ("draining", "warn", "Look again"),
        ("stopped", "warn", "Look again"),
    ],
)
def test_instance_is_reported_with_advice(installed, findings, status, state, level, advice):
    checked = installed(held=True)
    checked.redis_answers, checked.heartbeats = True, [status(state=state, last_error="it broke")]
    [(found, text)] = findings(upstream.instances, checked)
    assert found == level
    assert advice in text
    assert ("it broke" in text) == (state != "ready")


def test_paused_pool_is_started_as_one(installed, findings, status, db):
    orders.order(Action.DRAIN, orders.ALL, "redis://127.0.0.1:1/0")
    checked = installed(held=True)
    checked.redis_answers = checked.database_answers = True
    checked.heartbeats = [status(state="draining", mode=Mode.DRAIN)]
    [(level, said)] = findings(upstream.instances, checked)
    assert (level, "manage.py pool start all has it take turns again" in said) == ("warn", True), said


@pytest.mark.parametrize("state", ["ready", "busy"])
def test_account_without_models_is_told(installed, findings, status, state):
    checked = installed(held=True)
    checked.redis_answers, checked.heartbeats = True, [status(state=state, models=0)]
    [(level, said)] = findings(upstream.instances, checked)
    assert (level, "its account offers no model See whether its account has a plan" in said) == ("warn", True), said


@pytest.mark.parametrize(
    ("fields", "text"),
    [
        ({"state": "draining", "mode": "drain"}, "is draining It is held by order: manage.py pool start w1-i1 has it"),
        ({"state": "stopped", "mode": "stop"}, "is stopped It is held by order: manage.py pool start w1-i1 has it"),
        ({"state": "cooling"}, "is cooling down until 04:00:00 UTC, by order Then it is tried by itself; manage.py"),
        (
            {"state": "cooling", "cools_for": "limited", "last_error": "it broke"},
            "is cooling down until 04:00:00 UTC, its service refuses turns for a while: it broke Then it is tried",
        ),
    ],
)
def test_held_instance_says_how_that_ends(installed, findings, status, fields, text):
    checked = installed(held=True)
    until = datetime(2100, 1, 1, 4, tzinfo=UTC).timestamp()
    fields = {"cool_until": until} | fields | {"mode": Mode(fields.get("mode", "run"))}
    checked.redis_answers, checked.heartbeats = True, [status(**fields)]
    [(level, said)] = findings(upstream.instances, checked)
    assert (level, said.startswith(f"w1-i1 {text}")) == ("warn", True), said


@pytest.mark.parametrize(
    ("fields", "advice"),
    [
        ({"state": "starting", "restarts": 3}, "It is started again by itself. See "),
        ({"state": "degraded"}, "It is started again by itself. See "),
        ({"state": "failed", "account": AccountState.NO_LICENCE}, "has to give it a licence."),
    ],
)
def test_failing_instance_has_an_advice(installed, findings, status, fields, advice):
    checked = installed(held=True)
    checked.redis_answers, checked.heartbeats = True, [status(**{"last_error": "it broke"} | fields)]
    [(level, said)] = findings(upstream.instances, checked)
    assert (level, "it broke" in said, advice in said) == ("fail", True, True), said


def test_name_of_two_instances_fails(installed, findings, status):
    checked = installed()
    checked.redis_answers, checked.heartbeats = True, [status(is_named_twice=True)]
    level, text = findings(upstream.instances, checked)[0]
    assert (level, text.startswith("w1-i1 is the name of two instances Two gateways share this Redis")) == (
        "fail",
        True,
    )


def test_instance_whose_successor_fails_is_told(installed, findings, status):
    checked = installed(held=True)
    checked.redis_answers, checked.heartbeats = True, [status(last_error="its successor: broke", not_replaced=True)]
    [(level, text)] = findings(upstream.instances, checked)
    assert (level, "its successor: broke" in text, "goes on" in text) == ("warn", True, True)


def test_advice_names_the_work_dir_in_use(installed, findings, status):
    checked = installed(held=True)
    folder = checked.data_dir / "instances"
    folder.mkdir(parents=True)
    (folder / f"{status().name}.in-use").write_text(f"{status().name}.b")
    checked.redis_answers, checked.heartbeats = True, [status(state="login_required", last_error="it broke")]
    [(_, text)] = findings(upstream.instances, checked)
    assert f"{folder / status().name}.b" in text


def test_window_is_named_with_its_end(installed, findings, status):
    state = installed(held=True)
    window = Maintenance("nightly", Mode.DRAIN, datetime(2100, 1, 1, 4, tzinfo=UTC).timestamp())
    state.redis_answers, state.heartbeats = True, [status(state="draining", maintenance=window)]
    words = "w1-i1 is draining: in the maintenance window nightly until 2100-01-01 04:00 UTC"
    assert findings(upstream.instances, state) == [("warn", f"{words} Then it takes turns by itself.")]


def test_instances_without_a_sign_of_life_are_missed(installed, findings, status):
    state = installed(held=True, WEB_PROCESSES="2", LINGMA_INSTANCES="2")
    state.redis_answers, state.heartbeats = True, [status()]
    assert findings(upstream.instances, state)[1][1].startswith("3 of 4 give no sign of life")


def test_instances_cannot_be_seen_without_redis(installed, findings):
    state = installed(held=True, redis_url="unix:///nowhere/redis.sock")
    [(level, text)] = findings(upstream.instances, state)
    assert level == "warn"
    assert "through Redis, which does not answer See to Redis first." in text


def test_a_stopped_gateway_has_no_instances(installed, findings):
    assert findings(upstream.instances, installed()) == []
