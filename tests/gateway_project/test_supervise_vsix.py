"""A gateway whose Lingma comes out of a VSIX, from the archive to a chat."""

import json
import os
import signal
import time
import urllib.request

import pytest

from tests import prepared
from tests.bridge.lingma.test_vsix import simulator
from tests.gateway_project.gateway import Gateway

pytestmark = pytest.mark.e2e


def said(gateway, key):
    """What the model answers, and what stands behind it."""
    turn = {"role": "user", "content": '[[sim: text="out of the box" delay_ms=0 first_ms=0]]'}
    body = json.dumps({"model": "org_auto", "messages": [turn]}).encode()
    request = urllib.request.Request(
        f"http://127.0.0.1:{gateway.port}/v1/chat/completions", body, {"Authorization": f"Bearer {key}"}
    )
    with urllib.request.urlopen(request, timeout=30) as answer:
        text = json.load(answer)["choices"][0]["message"]["content"]
        return text, answer.headers["x-lingma-upstream"]


def test_lingma_from_vsix_answers_a_chat(tmp_path, data_dir):
    source = str(simulator(tmp_path))
    with Gateway(data_dir, LINGMA_VSIX=source) as gateway:
        gateway.until(f"unpacking Lingma from {source}")
        key = gateway.until(r"API key +(lgw_\S+)")[1]
        gateway.until("w1-i1 is ready")
        assert said(gateway, key) == ("out of the box", "lingma")
        gateway.process.send_signal(signal.SIGTERM)
        assert gateway.ended() == (0, "")
    with Gateway(data_dir, LINGMA_VSIX=source) as gateway:
        gateway.until("Lingma gateway, ready")
        assert "unpacking" not in "\n".join(gateway.lines)


def manage(data_dir, *arguments):
    done = prepared.manage(*arguments, env={**os.environ, "DATA_DIR": str(data_dir)})
    assert done.returncode == 0, done.stderr
    return done.stdout.strip()


def instance(gateway, token):
    request = urllib.request.Request(
        f"http://127.0.0.1:{gateway.port}/api/instances/w1-i1/", headers={"Authorization": f"Token {token}"}
    )
    with urllib.request.urlopen(request, timeout=30) as answer:
        return json.load(answer)


def reports(gateway, token, version):
    """Wait until the instance reports that version, of the service that answers."""
    deadline = time.monotonic() + 90
    while (found := instance(gateway, token))["version"] != version or found["replacing"]:
        assert time.monotonic() < deadline, found
        time.sleep(0.2)


def test_version_rolls_out_and_back_while_serving(tmp_path, data_dir):
    old, new = tmp_path / "old", tmp_path / "new"
    for path, version in ((old, "2.9.0"), (new, "2.11.7")):
        path.mkdir()
        simulator(path, version)
    with Gateway(data_dir) as gateway:
        key = gateway.until(r"API key +(lgw_\S+)")[1]
        gateway.until("w1-i1 is ready")
        token = manage(data_dir, "create_api_token", "admin", "--expires", "1d").split()[-1]
        assert said(gateway, key) == ("out of the box", "simulator")
        # With nothing set, an installed version takes the place of the simulator.
        for path, version in ((old, "2.9.0"), (new, "2.11.7")):
            assert manage(data_dir, "lingma_install", path / "simulator.vsix").startswith(f"{version} is installed")
        for version in ("2.9.0", "2.11.7", "2.9.0"):
            assert manage(data_dir, "pool", "move", "all", "--version", version) == "move: w1-i1"
            reports(gateway, token, version)
            assert said(gateway, key) == ("out of the box", "lingma")
        assert instance(gateway, token)["restarts"] == 0
    # The next start begins with it.
    with Gateway(data_dir) as gateway:
        gateway.until("w1-i1 is ready")
        assert said(gateway, key) == ("out of the box", "lingma")
        reports(gateway, token, "2.9.0")
