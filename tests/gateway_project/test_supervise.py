"""Starts and stops of the whole gateway."""

import signal
import urllib.request

import pytest

from tests.gateway_project.gateway import Gateway, survivors
from tests.gateway_project.test_privacy import manage, open_to_others

pytestmark = pytest.mark.e2e


def answers(gateway, path="/admin/login/"):
    with urllib.request.urlopen(f"http://127.0.0.1:{gateway.port}{path}", timeout=30) as answer:
        return answer.status


def test_first_start_prints_secrets_and_leaves_nothing(tmp_path):
    with Gateway(tmp_path, wrapper=("env",)) as gateway:
        processes = gateway.complete()
        assert answers(gateway) == 200
        key = gateway.until(r"API key +(lgw_\S+)")[1]
        password = gateway.until(r"password (\S+)")[1]
        assert gateway.until(r"Authorization: Bearer (\S+)\"")[1] == key
        gateway.process.send_signal(signal.SIGTERM)
        assert gateway.ended() == (0, "")
        assert survivors(processes) == []
        output = "\n".join(gateway.lines)
    assert f"http://127.0.0.1:{gateway.port}/v1 " in output
    assert "SIMULATOR" in output
    assert output.count(password) == 1
    assert_later_start_narrows_directory_and_prints_no_secret(tmp_path)


def assert_later_start_narrows_directory_and_prints_no_secret(data_dir):
    data_dir.chmod(0o755)
    (data_dir / "gateway.sqlite3").chmod(0o644)
    assert "lingma.W007" in manage(data_dir, "check")
    with Gateway(data_dir) as gateway:
        assert gateway.until(r"others could read (\S+) and 1 more")[1] == str(data_dir)
        assert gateway.until(r"Authorization: Bearer (\S+)\"")[1] == "$LINGMA_GATEWAY_KEY"
        gateway.until("Lingma gateway, ready")
        assert open_to_others(data_dir) == []
        gateway.process.send_signal(signal.SIGINT)
        assert gateway.ended() == (0, "")
        assert "shown once" not in "\n".join(gateway.lines)


def test_signal_during_start_leaves_nothing(data_dir):
    with Gateway(data_dir) as gateway:
        while not (processes := gateway.descendants()):
            gateway.process.poll()
        gateway.process.send_signal(signal.SIGTERM)
        assert gateway.ended() == (0, "")
        assert survivors(processes) == []
