"""Where a POST may go, and how long it may take."""

import socket
import time

import pytest

from accounts.alerts.formats import Call
from accounts.alerts.post import PostFailed, PostOptions, post
from tests.accounts.alerts.receivers import receiving

ALLOWED = PostOptions(private=True, seconds=60)


@pytest.fixture
def receiver():
    with receiving() as receiver:
        yield receiver


def send(url, options=ALLOWED):
    return post(Call(url, b"{}", {"Content-Type": "application/json"}), options)


def test_body_arrives_and_the_answer_comes_back(receiver):
    status, answer = send(f"{receiver.url}/hook?key=k")
    (path, headers, body), *rest = receiver.got
    assert (status, path, body, rest) == (200, "/hook?key=k", b"{}", [])
    assert (headers["Content-Type"], b"success" in answer) == ("application/json", True)


@pytest.mark.parametrize(
    "addresses", [["127.0.0.1"], ["8.8.8.8", "127.0.0.1"], ["::1"], ["10.0.0.7"], ["169.254.169.254"]]
)
def test_private_address_is_refused(receiver, addresses):
    options = PostOptions(resolve=lambda host, port: addresses)
    with pytest.raises(PostFailed, match="private"):
        send(f"http://hooks.example:{receiver.server_port}/", options)
    assert receiver.got == []


@pytest.mark.parametrize("host", ["127.0.0.1", "localhost", "[::1]", "2130706433"])
def test_loopback_is_refused_by_any_name(receiver, host):
    with pytest.raises(PostFailed):
        send(f"http://{host}:{receiver.server_port}/", PostOptions(seconds=60))
    assert receiver.got == []


def test_name_is_looked_up_once(receiver):
    """A name whose address changes after the check leads nowhere else."""
    answers = [["127.0.0.1"], ["203.0.113.1"]]
    options = ALLOWED._replace(resolve=lambda host, port: answers.pop(0))
    assert send(f"http://hooks.example:{receiver.server_port}/", options)[0] == 200
    assert len(answers) == 1
    assert receiver.got[0][1]["Host"] == f"hooks.example:{receiver.server_port}"


def test_redirect_is_not_followed(receiver):
    receiver.answer = (302, {"Location": f"{receiver.url}/secret"}, b"")
    assert send(receiver.url)[0] == 302
    assert len(receiver.got) == 1


def test_long_answer_is_read_in_part(receiver):
    receiver.answer = (200, {}, b"x" * 1_000_000)
    assert len(send(receiver.url)[1]) == 65_536


def test_silent_receiver_has_a_deadline():
    with socket.create_server(("127.0.0.1", 0)) as silent:
        began = time.monotonic()
        with pytest.raises(PostFailed, match="no answer within"):
            send(f"http://127.0.0.1:{silent.getsockname()[1]}/", ALLOWED._replace(seconds=0.3))
        assert time.monotonic() - began < 60


def test_slow_name_server_has_a_deadline():
    options = ALLOWED._replace(seconds=0.3, resolve=lambda host, port: time.sleep(1) or ["127.0.0.1"])
    with pytest.raises(PostFailed, match="no answer"):
        send("http://hooks.example/", options)


@pytest.mark.parametrize("url", ["ftp://a.example/", "http://u:p@a.example/", "http://", "nothing"])
def test_odd_address_is_refused(url):
    with pytest.raises(PostFailed):
        send(url)
