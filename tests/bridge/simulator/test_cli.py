"""The command line, the files of the work directory, and the end of the process."""

import json
import signal
import subprocess
import sys

import pytest

from bridge.simulator.options.layers import from_environment
from tests.bridge.simulator.harness import ENVIRONMENT, run


def test_version_is_printed_like_the_executable():
    assert run("version").stdout == "version: 2.11.1\n"


def test_machine_info_names_token_and_type():
    assert [line.partition(":")[0] for line in run("machine-info").stdout.splitlines()] == [
        "machineToken",
        "machineType",
    ]


def test_status_of_fresh_work_dir_is_logged_out(tmp_path):
    status = run("status", "-o", "json", "--workDir", str(tmp_path))
    assert json.loads(status.stdout) == {"logged_in": False, "version": "2.11.1"}


def test_status_knows_the_login_of_the_files(start):
    simulator = start("--login=auto", "--user=ann@example.com")
    status = json.loads(run("status", "-o", "json", f"--workDir={simulator.work_dir}").stdout)
    assert (status["logged_in"], status["username"]) == (True, "ann@example.com")


def test_an_unknown_command_is_refused():
    assert run("dance").returncode == 2


def test_wrong_option_is_refused_in_one_line(tmp_path):
    refused = run("start", f"--workDir={tmp_path}", "--start-delay-ms=soon")
    assert (refused.returncode, refused.stderr.count("\n")) == (2, 1)


def test_help_lists_options_and_faults():
    text = run("start", "--help").stdout
    assert all(word in text for word in ("--socketPort", "first_ms", "ack_gate", "F30=ask_error", "[[sim:"))


def test_manage_py_passes_its_arguments_on():
    argv = [sys.executable, "manage.py", "lingma_simulator", "version"]
    done = subprocess.run(argv, capture_output=True, text=True, check=False, env=ENVIRONMENT)
    assert done.stdout == "version: 2.11.1\n"


def test_work_dir_has_its_tree_and_ports(start):
    simulator = start("--transportType", "websocket", "--startupId=x", "--unknown", "--another=1")
    info = json.loads((simulator.work_dir / ".info.json").read_text())
    assert (info["websocketPort"], info["pid"], info["isDev"]) == (simulator.port, simulator.process.pid, False)
    expected = ("cache/id", "cache/db", "extension/local/mcp.json", "lingma_mcp.json", "index", "model")
    assert all((simulator.work_dir / name).exists() for name in expected)
    assert "Using http server:" in simulator.log()


def test_info_json_is_rewritten(start):
    simulator = start("--info-every-sec=0.05")
    path = simulator.work_dir / ".info.json"
    path.write_text("{}")
    assert simulator.wait_for(lambda: "websocketPort" in path.read_text())


def test_info_json_outlives_a_disk_that_fails(start):
    simulator = start("--info-every-sec=0.05")
    path = simulator.work_dir / ".info.json"
    path.unlink()
    path.mkdir()
    assert simulator.wait_for_line("work directory: ")
    path.rmdir()
    assert simulator.wait_for(path.is_file)


@pytest.mark.parametrize(("fault", "port"), [("F23", 9), ("F24", 1)])
def test_info_json_can_name_wrong_ports(start, fault, port):
    info = json.loads((start(f"--fault={fault}").work_dir / ".info.json").read_text())
    assert info["websocketPort"] == port


def test_taken_port_is_one_line_and_exit_one(start, tmp_path):
    port = start().port
    refused = run("start", f"--workDir={tmp_path / 'other'}", f"--socketPort={port}", "--httpPort=0")
    assert (refused.returncode, "cannot listen" in refused.stderr) == (1, True)


@pytest.mark.parametrize(("flag", "code"), [("--socketPort=abc", 2), ("--httpPort=65536", 2), ("--workDir=/proc/x", 1)])
def test_start_that_cannot_be_is_one_line(tmp_path, flag, code):
    refused = run("start", f"--workDir={tmp_path}", "--socketPort=0", "--httpPort=0", flag)
    assert (refused.returncode, refused.stderr.count("\n"), refused.stdout) == (code, 1, "")


def test_a_start_can_be_scripted_to_fail(tmp_path):
    failed = run("start", f"--workDir={tmp_path}", "--start-fails", "--exit-code=7")
    assert failed.returncode == 7


def test_the_environment_scripts_too(start):
    simulator = start(
        LINGMA_SIMULATOR_LOGIN="auto", LINGMA_SIMULATOR_EXIT_AFTER_SEC="0.2", LINGMA_SIMULATOR_EXIT_CODE="5"
    )
    assert simulator.process.wait(30) == 5


def test_variables_of_others_script_nothing():
    """This one is as long as our prefix before it reads like an option."""
    assert from_environment({"LINGMA_SIMULATOR_USER": "ann", "POSTGRES_SERVICE_USER": "db"}) == {"user": "ann"}


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_a_signal_ends_it_with_zero(start, number):
    simulator = start()
    simulator.process.send_signal(number)
    assert simulator.process.wait(30) == 0


def test_simulator_can_ignore_sigint(start):
    simulator = start("--ignore-sigint")
    simulator.process.send_signal(signal.SIGINT)
    simulator.wait_for_line("signal ignored")
    simulator.process.terminate()
    assert simulator.process.wait(30) == 0


async def test_a_stop_closes_the_connections(start):
    simulator = start()
    async with simulator.client() as client:
        simulator.process.send_signal(signal.SIGINT)
        await client.socket.wait_closed()
        assert client.socket.close_code == 1001
    assert simulator.process.wait(30) == 0
