"""Other services than the bundled simulator: any executable that follows the protocol, and those that run already."""

import re
import subprocess
import sys

import pytest

from tests.e2e.formats import OPENAI, send
from tests.e2e.installation import ROOT, SIMULATOR, Gateway, environment, until
from tests.ports import free_port

WRAPPER = """#!/bin/sh
env > {directory}/environment.txt
echo "$@" > {directory}/arguments.txt
cd {root} && exec {python} -m bridge.simulator "$@" --login=auto
"""


@pytest.fixture(scope="module")
def executable(tmp_path_factory):
    """A program that is no part of the gateway, as far as the gateway knows."""
    path = tmp_path_factory.mktemp("theirs") / "Lingma"
    path.write_text(WRAPPER.format(directory=path.parent, root=ROOT, python=sys.executable))
    path.chmod(0o755)
    return path


@pytest.fixture(scope="module")
def on_executable(tmp_path_factory, template, executable):
    settings = {"LINGMA_BIN": str(executable), "ADMIN_TOKEN": "canary-admin-token"}
    with Gateway(tmp_path_factory.mktemp("executable"), template, **settings) as running:
        yield running
    assert running.left_behind == []


def test_any_executable_that_follows_the_protocol_will_do(on_executable, wire, stream):
    answer = on_executable.ask(wire, "[[sim: text=real]] x", stream=stream)
    assert (answer.status, answer.text) == (200, "real")
    assert answer.headers["x-lingma-upstream"] == "lingma"
    assert send(on_executable, "GET", "/healthz").json()["upstream"] == "lingma"


def test_executable_gets_places_and_no_secret(on_executable, executable):
    arguments = (executable.parent / "arguments.txt").read_text().split()
    assert arguments[:3] == ["start", "--transportType=websocket", f"--workDir={on_executable.work_dir()}"]
    assert [each.partition("=")[0] for each in arguments[3:5]] == ["--socketPort", "--httpPort"]
    assert "canary-admin-token" not in (executable.parent / "environment.txt").read_text()


def test_executable_that_ends_at_once_is_in_readyz(tmp_path, template):
    with Gateway(tmp_path / "data", template, wait=False, LINGMA_BIN="/bin/false") as gateway:

        def reason():
            return send(gateway, "GET", "/readyz").json()["instances"][0]["reason"]

        assert until(lambda: "exited with code 1" in reason())


def test_an_instance_that_ignores_sigint_is_killed(tmp_path, template):
    gateway = Gateway(tmp_path, template, LINGMA_SIMULATOR_IGNORE_SIGINT="true")
    with gateway:
        assert gateway.ask(OPENAI, "[[sim: text=x]] x").status == 200
    assert gateway.left_behind == []


def test_instance_silent_on_initialize_is_restarted(tmp_path, template):
    settings = {"LINGMA_SIMULATOR_INITIALIZE_SILENT": "true", "LINGMA_START_TIMEOUT_SEC": "1"}
    with Gateway(tmp_path, template, wait=False, **settings) as gateway:
        first = until(lambda: lingma_pid(gateway))
        assert until(lambda: (pid := lingma_pid(gateway)) and pid != first)


def lingma_pid(gateway):
    try:
        return gateway.lingma().pid
    except StopIteration:
        return 0


def test_readyz_and_log_hide_attached_service_secrets(tmp_path, template):
    """Nobody listens there, so every way of saying so is taken."""
    url = f"ws://canary-user:canary-password@127.0.0.1:{free_port()}/canary?token=canary-token"
    with Gateway(tmp_path / "data", template, wait=False, LINGMA_ATTACH_URLS=url) as gateway:

        def instance():
            return send(gateway, "GET", "/readyz").json()["instances"][0]

        assert until(lambda: (found := instance())["state"] == "backoff" and found)["reason"] == (
            "no Lingma service answers"
        )
        assert until(lambda: "no Lingma service answers there; starting again" in gateway.output())

        def heartbeat():
            with gateway.redis() as client:
                told = (client.get("lgw:instance:w1-i1") or b"").decode()
            return told if "no Lingma service answers there" in told else ""

        told = gateway.output() + send(gateway, "GET", "/readyz").body.decode() + until(heartbeat)
        assert not re.search("canary-user|canary-password|canary-token", told)


@pytest.fixture
def service(tmp_path):
    """A service that somebody else has started, and its port."""
    port = free_port()
    command = [sys.executable, "-m", "bridge.simulator", "start", f"--workDir={tmp_path / 'theirs'}", "--login=auto"]
    process = subprocess.Popen(
        [*command, f"--socketPort={port}", "--httpPort=0"], cwd=ROOT, env=environment(tmp_path, **SIMULATOR)
    )
    yield process, port
    process.terminate()
    process.wait()


def test_a_running_service_can_be_attached_to(tmp_path, template, service):
    process, port = service
    with Gateway(tmp_path / "data", template, LINGMA_ATTACH_URLS=f"ws://127.0.0.1:{port}") as gateway:
        answer = gateway.ask(OPENAI, "[[sim: text=attached]] x")
        assert (answer.text, answer.headers["x-lingma-upstream"]) == ("attached", "attached")
        assert send(gateway, "GET", "/healthz").json()["upstream"] == "attached"
    assert process.poll() is None  # it is not ours to end
