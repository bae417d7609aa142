"""What cannot work is said in one line, at once."""

import asyncio
import re
import socket

import psutil
import pytest

from gateway_project.env import SettingError, load
from gateway_project.supervise import orphans
from gateway_project.supervise.preflight import check_room
from gateway_project.supervise.supervisor import supervise
from tests.gateway_project.gateway import Gateway
from tests.ports import free_port

pytestmark = pytest.mark.e2e


def refusal(data_dir, **variables):
    """The one line a start ends with."""
    with Gateway(data_dir, **variables) as gateway:
        code, said = gateway.ended()
        assert code == 2
        assert gateway.lines == []
        assert said.count("\n") == 1
        return said


@pytest.fixture
def refused(monkeypatch):
    """What the process would say that is refused before it has started any other."""

    # At its end it kills what it did not start: our Redis, say, which is ours to end.
    monkeypatch.setattr(orphans, "ours", {child.pid for child in psutil.Process().children()})

    def run(data_dir, **variables):
        for name, value in {"DATA_DIR": str(data_dir), "PORT": str(free_port()), **variables}.items():
            monkeypatch.setenv(name, value)
        with pytest.raises(SettingError) as caught:
            asyncio.run(supervise(load.__wrapped__(), None))
        assert "\n" not in str(caught.value)
        return f"lingma-gateway: {caught.value}"

    return run


def test_a_port_in_use(tmp_path):
    with socket.socket() as other:
        other.bind(("127.0.0.1", 0))
        other.listen()
        port = str(other.getsockname()[1])
        assert f"PORT: cannot listen on 127.0.0.1:{port}: Address already in use" in refusal(tmp_path, PORT=port)


def test_a_data_directory_that_cannot_be_written(tmp_path, refused):
    (tmp_path / "file").touch()
    assert "DATA_DIR: cannot write to" in refused(tmp_path / "file" / "data")


@pytest.mark.parametrize(
    ("name", "why"),
    [("redis", "cannot use .*/redis: File exists"), ("gateway.sqlite3", "gateway.sqlite3 cannot be used: file is not")],
)
def test_file_in_the_way_is_named_and_refused(tmp_path, name, why):
    (tmp_path / name).write_text("nonsense " * 1000)
    assert re.match(f"lingma-gateway: DATA_DIR: .*{why}", refusal(tmp_path))


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("HOST", "no-such-host.invalid"),
        ("HOST", "192.0.2.7"),
        ("REDIS_URL", "unix:///srv/a#b.sock"),
        ("PORT", "many"),
        ("LINGMA_BIN", "/nowhere/lingma"),
        ("LINGMA_VSIX", "https://[nowhere/lingma.vsix"),
        ("SENTRY_DSN", "https://sentry.example/1"),
        ("SENTRY_DSN", "https://[key@sentry.example/1"),
    ],
)
def test_a_setting_that_cannot_work(tmp_path, refused, name, value):
    assert refused(tmp_path, **{name: value}).startswith(f"lingma-gateway: {name}: ")


@pytest.mark.parametrize(
    ("name", "value"), [("OTEL_TRACES_EXPORTER", "zipkin"), ("OTEL_EXPORTER_OTLP_PROTOCOL", "grpc")]
)
def test_span_exporter_not_built_in_is_refused(tmp_path, refused, name, value):
    said = refused(tmp_path, OTEL_EXPORTER_OTLP_ENDPOINT="http://127.0.0.1:9", **{name: value})
    assert said.startswith(f"lingma-gateway: {name}: '{value}' is not built in")


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("PORT", "none"),
        ("REDIS_URL", "redis://127.0.0.1:1"),
        ("DATABASE_URL", "sqlite:////nowhere/gateway.sqlite3"),
        ("DATABASE_URL", "postgres://nobody@127.0.0.1:1/nothing"),
    ],
)
def test_process_names_setting_that_cannot_work(tmp_path, name, value):
    assert refusal(tmp_path, **{name: value}).startswith(f"lingma-gateway: {name}: ")


def test_a_data_directory_too_deep_for_a_socket(tmp_path, refused):
    assert "DATA_DIR: " in refused(tmp_path / ("d" * 100))


def test_a_first_start_without_room(tmp_path):
    with pytest.raises(SettingError, match=r"DATA_DIR: .* has room for \d+ MiB, a first start needs \d+"):
        check_room(tmp_path, 1 << 60)


def test_a_later_start_needs_no_room(tmp_path):
    (tmp_path / "static").mkdir()
    (tmp_path / "static" / ".collected").touch()
    assert check_room(tmp_path, 1 << 60) is None


@pytest.mark.parametrize("source", ["/nowhere/lingma.vsix", "ftp://example.com/lingma.vsix"])
def test_a_vsix_that_is_not_there(tmp_path, refused, source):
    assert f"LINGMA_VSIX: {source} is neither a file nor an http(s) URL" in refused(tmp_path, LINGMA_VSIX=source)


def test_a_vsix_that_cannot_be_unpacked(tmp_path):
    (tmp_path / "lingma.vsix").write_text("no archive")
    with Gateway(tmp_path / "data", LINGMA_VSIX=str(tmp_path / "lingma.vsix")) as gateway:
        code, said = gateway.ended()
    assert code == 2
    assert said.startswith("lingma-gateway: LINGMA_VSIX: ")
    assert said.count("\n") == 1


@pytest.mark.parametrize(
    ("programs", "said"),
    [
        (["web"], "DATABASE_URL: without a server that all programs reach, they cannot run apart"),
        (["worker", "beat"], "DATABASE_URL: without a server that all programs reach, they cannot run apart"),
        (["wroker"], "wroker is no program of the gateway: choose from beat, login-worker, web, worker, prepare"),
    ],
)
def test_programs_that_cannot_run_apart_are_refused(tmp_path, programs, said):
    assert refusal(tmp_path, programs=programs) == f"lingma-gateway: {said}\n"


def test_programs_apart_need_a_redis_they_share(tmp_path):
    url = "postgres://gateway@127.0.0.1:1/gateway"
    assert refusal(tmp_path, programs=["web"], DATABASE_URL=url).startswith("lingma-gateway: REDIS_URL: without a")
