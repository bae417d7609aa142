"""Where a service is found."""

import json
import os
import socket

import pytest

from bridge.lingma.errors import StartFailed
from bridge.lingma.process.endpoint import Endpoint


@pytest.fixture
def work_dir(tmp_path):
    (tmp_path / "cache").mkdir()
    info = {"websocketPort": 36510, "pid": 14060, "ipcServerPath": "/x/lingma.sock", "isDev": False}
    (tmp_path / ".info.json").write_text(json.dumps(info))
    return tmp_path


def test_url_is_taken_and_tried_on_both_paths():
    endpoint = Endpoint.find("ws://127.0.0.1:36510/")
    assert (endpoint.urls, endpoint.work_dir) == (("ws://127.0.0.1:36510/", "ws://127.0.0.1:36510/ws"), None)
    assert Endpoint.find("ws://127.0.0.1:36510").urls[1] == "ws://127.0.0.1:36510/ws"
    assert Endpoint.find("ws://127.0.0.1:36510/ws").urls == ("ws://127.0.0.1:36510/ws",)
    assert Endpoint.find("wss://lingma.test").urls == ("wss://lingma.test", "wss://lingma.test/ws")


@pytest.mark.parametrize("form", ["{0}", "{0}/.info.json", "file://{0}", "file://{0}/.info.json"])
def test_work_dir_is_found_by_either_path(work_dir, form):
    endpoint = Endpoint.find(form.format(work_dir))
    assert (endpoint.url, endpoint.work_dir, endpoint.headers) == ("ws://127.0.0.1:36510/", work_dir, {})


def test_the_info_file_is_read_afresh_each_time(work_dir):
    Endpoint.find(str(work_dir))
    (work_dir / ".info.json").write_text('{"websocketPort":4711}')
    assert Endpoint.find(str(work_dir)).url == "ws://127.0.0.1:4711/"


def test_machine_token_is_sent_when_there_is_one(work_dir):
    (work_dir / "cache" / "machine_token.json").write_text('{"token":"abc","type":"x","updateAt":1}')
    assert Endpoint.find(str(work_dir)).headers == {"Cosy-MachineToken": "abc"}


@pytest.mark.parametrize("text", ["", "{", "{}", '{"websocketPort":"x"}', "36510\n14060\n"])
def test_unreadable_info_file_is_reported(work_dir, text):
    (work_dir / ".info.json").write_text(text)
    with pytest.raises(StartFailed, match=r"\.info\.json"):
        Endpoint.find(str(work_dir))


def test_missing_work_dir_is_reported(tmp_path):
    with pytest.raises(StartFailed):
        Endpoint.find(str(tmp_path / "nowhere"))


@pytest.mark.parametrize("where", ["x" * 300, "~nobody-of-that-name/lingma", "a\0b"])
def test_path_that_cannot_be_read_is_reported(tmp_path, where):
    with pytest.raises(StartFailed):
        Endpoint.find(where if where.startswith("~") else str(tmp_path / where))


def test_info_of_a_wild_writer_is_reported(work_dir):
    (work_dir / ".info.json").write_bytes(b'{"websocketPort":1,"x":' + b"[" * 5000)
    with pytest.raises(StartFailed):
        Endpoint.find(str(work_dir))


def test_path_in_url_may_hold_any_character(tmp_path):
    odd = tmp_path / "a b#c%"
    odd.mkdir()
    (odd / ".info.json").write_text('{"websocketPort":4711}')
    assert Endpoint.find(odd.as_uri()).url == "ws://127.0.0.1:4711/"


def test_process_is_recognised_only_where_it_listens_itself(work_dir):
    with socket.create_server(("127.0.0.1", 0)) as server:
        port = server.getsockname()[1]

        def identity(pid):
            (work_dir / ".info.json").write_text(json.dumps({"websocketPort": port, "pid": pid}))
            return Endpoint.find(str(work_dir)).identity()

        own = identity(os.getpid())
        assert own is not None
        assert own == identity(os.getpid())
        assert [identity(pid) for pid in (os.getppid(), 4194000, 0, -1)] == [None] * 4  # as those of a container may be
    assert Endpoint.find(str(work_dir)).identity() is None
    assert Endpoint.find(f"ws://127.0.0.1:{port}").identity() is None
