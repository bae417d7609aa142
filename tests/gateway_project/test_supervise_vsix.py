"""A gateway whose Lingma comes out of a VSIX, from the archive to a chat."""

import json
import signal
import urllib.request

import pytest

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
