"""`manage.py lingma_doctor` as an operator sees it."""

import io
import json
import os

import pytest
from django.core.management import call_command

from bridge.doctor import run
from tests.ports import free_port
from tests.prepared import manage


def doctor(data_dir, *arguments, **variables):
    """Exit code and output of the command."""
    environment = {**os.environ, "DATA_DIR": str(data_dir), "PORT": str(free_port()), **variables}
    done = manage("lingma_doctor", *arguments, env=environment)
    return done.returncode, done.stdout, done.stderr


def test_doctor_names_the_first_step_of_all(tmp_path):
    code, output, errors = doctor(tmp_path / "data")
    assert (code, errors) == (0, "")
    assert "no gateway runs on" in output
    assert "-> Start the gateway: make run." in output
    assert not (tmp_path / "data" / "gateway.sqlite3").exists()


def test_broken_part_is_exit_code_1_without_secrets(tmp_path):
    secrets = {
        "REDIS_URL": "redis://:canary-1@127.0.0.1:1",
        "SECRET_KEY": "canary-2",
        "API_KEYS": "canary-3-canary-3-canary-3",
        "SECRET_KEYS": "canary-4-canary-4-canary-4,canary-5-canary-5-canary-5",
    }
    program = f"/nowhere/{secrets['API_KEYS']}/{secrets['SECRET_KEYS']}/Lingma"
    code, output, errors = doctor(tmp_path / "data", "--json", LINGMA_BIN=program, **secrets)
    assert code == 1
    found = json.loads(output)
    assert found["ok"] is False
    assert {"settings", "redis", "lingma"} <= {each["topic"] for each in found["findings"] if each["level"] == "fail"}
    assert all(each["advice"] for each in found["findings"] if each["level"] != "ok")
    assert "canary" not in output + errors


@pytest.mark.parametrize("name", ["LINGMA_VSIX", "DEDICATED_DOMAIN_URL"])
def test_address_nobody_can_read_hides_no_finding(tmp_path, name):
    url = "https://user:canary-1@[nowhere/lingma.vsix?key=canary-2"
    _, output, errors = doctor(tmp_path / "data", **{name: url}, LINGMA_BIN="/nowhere/user:canary-1/key=canary-2")
    assert "/nowhere/user:…/" in output
    assert "canary" not in output + errors


def test_unusable_data_directory_is_one_line(tmp_path):
    (tmp_path / "file").touch()
    code, output, errors = doctor(tmp_path / "file" / "data")
    assert (code, output) == (1, "")
    assert errors.startswith("lingma-gateway: DATA_DIR: ")
    assert errors.count("\n") == 1


@pytest.mark.django_db
def test_check_that_breaks_hides_no_other(monkeypatch, caplog):
    def broken(_):
        raise RuntimeError("it broke")
        yield

    monkeypatch.setattr(run, "CHECKS", (broken, run.CHECKS[0]))
    output = io.StringIO()
    with pytest.raises(SystemExit):
        call_command("lingma_doctor", stdout=output)
    assert "fail  broken" in output.getvalue()
    assert "they make sense" in output.getvalue()
