"""The executable and the instances."""

import json
import socket

import pytest

from bridge.doctor import upstream
from tests.gateway_project.gateway import free_port


def script(tmp_path, text):
    path = tmp_path / "Lingma"
    path.write_text(text)
    path.chmod(0o755)
    return str(path)


def test_simulator_is_reported_loudly(patient, told):
    [(level, text)] = told(upstream.lingma, patient())
    assert level == "warn"
    assert "every answer is made up" in text


def test_executable_shows_version_and_sees_no_secret(patient, told, tmp_path):
    path = script(tmp_path, '#!/bin/sh\necho "version: 2.11.1 ${ADMIN_TOKEN:-blind} $1"\n')
    examined = patient(LINGMA_BIN=path, ADMIN_TOKEN="canary-canary-canary")
    assert told(upstream.lingma, examined) == [("ok", f"{path}, version: 2.11.1 blind version")]


@pytest.mark.parametrize(
    ("text", "level"), [("#!/bin/sh\nexit 3\n", "warn"), ("#!/bin/sh\nsleep 9\n", "warn"), ("no program", "fail")]
)
def test_an_executable_that_is_none(patient, told, tmp_path, monkeypatch, text, level):
    monkeypatch.setattr(upstream, "VERSION_SEC", 0.2)
    assert told(upstream.lingma, patient(LINGMA_BIN=script(tmp_path, text)))[0][0] == level


@pytest.mark.parametrize(("held", "level"), [(True, "fail"), (False, "warn")])
def test_a_vsix_that_is_not_unpacked(patient, told, held, level):
    examined = patient(held=held, LINGMA_VSIX="https://example.com/lingma.vsix")
    assert told(upstream.lingma, examined)[0][0] == level


def test_services_to_attach_to_are_dialled(patient, told):
    with socket.create_server(("127.0.0.1", 0)) as server:
        urls = f"ws://127.0.0.1:{server.getsockname()[1]},ws://127.0.0.1:{free_port()}"
        assert [level for level, _ in told(upstream.lingma, patient(LINGMA_ATTACH_URLS=urls))] == ["ok", "fail"]


def test_a_service_is_found_by_its_work_dir(patient, told, tmp_path):
    with socket.create_server(("127.0.0.1", 0)) as server:
        (tmp_path / ".info.json").write_text(json.dumps({"websocketPort": server.getsockname()[1]}))
        places = f"{tmp_path},{tmp_path.as_uri()}/.info.json,{tmp_path}/nowhere"
        assert [level for level, _ in told(upstream.lingma, patient(LINGMA_ATTACH_URLS=places))] == ["ok", "ok", "fail"]


@pytest.mark.parametrize(
    ("state", "level", "advice"),
    [
        ("ready", "ok", "2.11.1"),
        ("login_required", "fail", "cache/user and cache/id"),
        ("backoff", "fail", "logs/lingma.log"),
        ("starting", "warn", "Look again"),
        ("draining", "warn", "Look again"),
    ],
)
def test_instance_is_reported_with_advice(patient, told, facts, state, level, advice):
    examined = patient(held=True)
    examined.redis_answers, examined.heartbeats = True, [facts(state=state, last_error="it broke")]
    [(found, text)] = told(upstream.instances, examined)
    assert found == level
    assert advice in text
    assert ("it broke" in text) == (state != "ready")


def test_instances_without_a_sign_of_life_are_missed(patient, told, facts):
    examined = patient(held=True, WEB_PROCESSES="2", LINGMA_INSTANCES="2")
    examined.redis_answers, examined.heartbeats = True, [facts()]
    assert told(upstream.instances, examined)[1][1].startswith("3 of 4 give no sign of life")


def test_a_stopped_gateway_has_no_instances(patient, told):
    assert told(upstream.instances, patient()) == []
