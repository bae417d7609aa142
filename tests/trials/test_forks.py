"""The fork server of a whole gateway: what it makes are processes as any others, and nothing depends on it for long."""

import os
import signal
import sys

import pytest
from psutil import pid_exists

from tests.directories import copy
from tests.e2e.installation import until
from tests.gateway_project.gateway import Gateway, survivors
from tests.gateway_project.test_forks import PARTS, SERVER, parts, shared_mib
from tests.gateway_project.test_supervise import answers
from tests.processes import command_line


@pytest.fixture(scope="module")
def forking(tmp_path_factory, migrated):
    """A gateway, which the last test ends."""
    directory = copy(migrated, tmp_path_factory.mktemp("forking"))
    with Gateway(directory, wrapper=("env",)) as gateway:
        gateway.complete()
        yield directory, gateway


def test_forks_look_and_live_as_processes(forking):
    data_dir, gateway = forking
    for name, process in parts(gateway).items():
        module, *arguments = PARTS[name].split()
        assert command_line(process)[:3] == [sys.executable, "-m", module]
        assert command_line(process)[3 : 3 + len(arguments)] == arguments
        variables = process.environ()
        assert (variables["METRICS_PART"], variables["DATA_DIR"]) == (name, str(data_dir))
        assert (process.ppid(), os.getsid(process.pid)) == (gateway.process.pid, process.pid)
        assert shared_mib(process) > 20
    assert until(lambda: (data_dir / "metrics" / "counter_web-1.db").exists(), seconds=40)
    assert not list((data_dir / "metrics").glob(f"*_{gateway.descendant(SERVER).pid}.db"))


def test_killed_fork_server_comes_back_and_ends_nobody(forking):
    _, gateway = forking
    before = parts(gateway)
    gateway.descendant(SERVER).kill()
    gateway.until("forks was killed by SIGKILL; starting it again$")
    assert parts(gateway) == before
    before["web-1"].kill()  # while the next one loads, which it waits for
    assert answers(gateway) == 200
    assert shared_mib(parts(gateway)["web-1"]) > 20


def test_killed_supervisor_leaves_no_fork(forking):
    _, gateway = forking
    running = gateway.descendants()
    gateway.process.kill()
    assert survivors(running) == []


IMPATIENT = """
import sys
from gateway_project.supervise import __main__, forks
forks.PATIENCE, sys.argv = 15.0, ["supervise"]  # what follows names the module
sys.exit(__main__.main())
"""


def test_fork_server_that_hangs_holds_up_no_start(data_dir):
    with Gateway(data_dir, wrapper=(sys.executable, "-c", IMPATIENT)) as gateway:
        gateway.complete()
        hung = gateway.descendant(SERVER)
        hung.suspend()
        parts(gateway)["web-1"].kill()
        gateway.until("forks does not answer and is started again")
        assert answers(gateway) == 200
        assert until(lambda: not pid_exists(hung.pid), seconds=40)
        gateway.process.send_signal(signal.SIGTERM)
        assert gateway.ended() == (0, "")
