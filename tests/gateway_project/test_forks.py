"""The fork server: what it makes are processes as any others, and nothing depends on it for long."""

import os
import signal
import subprocess
import sys

import pytest
from psutil import pid_exists

from tests.directories import copy
from tests.e2e.installation import until
from tests.gateway_project.gateway import ROOT, Gateway, survivors
from tests.gateway_project.test_supervise import answers
from tests.processes import command_line

pytestmark = pytest.mark.e2e

SERVER = "gateway_project.supervise.forkserver"
PARTS = {"web-1": "gateway_project.server", "worker": "gateway_project.celery worker",
         "beat": "gateway_project.celery beat"}  # fmt: skip


def parts(gateway):
    """The processes by their names in the output."""
    return {name: gateway.descendant(*words.split()) for name, words in PARTS.items()}


def shared_mib(process):
    """Memory that was written to, and is shared with others all the same: a fork has much of it."""
    with open(f"/proc/{process.pid}/smaps_rollup") as file:
        figures = {name: figure.split()[0] for name, _, figure in (line.partition(":") for line in file) if figure}
    return int(figures["Shared_Dirty"]) >> 10


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
UNABLE = """
import sys
from gateway_project.supervise import __main__, forks
forks.can_fork, sys.argv = lambda: False, ["supervise"]  # what follows names the module
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


def test_starts_where_no_fork_can_be_had(data_dir):
    with Gateway(data_dir, wrapper=(sys.executable, "-c", UNABLE)) as gateway:
        gateway.complete()
        assert answers(gateway) == 200
        assert not any(SERVER in command_line(each) for each in gateway.descendants())
        assert shared_mib(parts(gateway)["web-1"]) < 5
        gateway.process.send_signal(signal.SIGTERM)
        assert gateway.ended() == (0, "")


LOADED = """
import os, sys
from gateway_project.lib import preloading
from gateway_project.lib.random_bytes import BLOCK
from gateway_project.supervise.forkserver import STAGES
preloading.active = True
drawn, urandom = [], os.urandom
os.urandom = lambda size: drawn.append(size) or urandom(size)
before = os.listdir("/proc/self/fd")
for load in STAGES:
    load()
print(*(name for name in sys.argv[1:] if hasattr(sys.modules.get(name), "__file__")))  # without what is `late`
print(len(os.listdir("/proc/self/task")), os.listdir("/proc/self/fd") == before)
print(*(size for size in drawn if size % BLOCK == 0))
"""
NEVER = ("psycopg", "requests", "pygments", "twisted", "daphne", "prompt_toolkit", "IPython", "numpy",
         "unittest", "django.test", "fido2.rpid", "celery.bin", "gateway_project.asgi")  # fmt: skip


def test_what_is_loaded_before_forks(tmp_path):
    """Nothing that no process uses, no thread, no descriptor, and no random bytes that two forks would share."""
    environment = {
        **os.environ,
        "DATA_DIR": str(tmp_path),
        "DATABASE_URL": "",
        "PROMETHEUS_MULTIPROC_DIR": str(tmp_path),
    }
    done = subprocess.run(
        [sys.executable, "-c", LOADED, *NEVER], cwd=ROOT, capture_output=True, text=True, timeout=120, check=True,
        env=environment,
    )  # fmt: skip
    assert done.stdout.splitlines() == ["", "1 True", ""]


def test_supervisor_loads_nothing_of_the_gateway():
    program = "import gateway_project.supervise.supervisor, sys; print(*sys.modules.keys() & set(sys.argv[1:]))"
    done = subprocess.run(
        [sys.executable, "-c", program, "django", "celery", "kombu", "redis", "channels", "cryptography", "PIL"],
        cwd=ROOT, capture_output=True, text=True, timeout=60, check=True,
    )  # fmt: skip
    assert done.stdout.strip() == ""


ENDS = """
import atexit, sys, threading, time

def main():
    atexit.register(print, "at the end")
    threading.Thread(target=lambda: (time.sleep(0.2), print("thread"))).start()
    print(*sys.argv[1:])
    match sys.argv[1]:
        case "code": sys.exit(3)
        case "words": sys.exit("words")
        case "error": raise ValueError("error")

if __name__ == "__main__":
    main()
"""
RUN = """
import sys
from gateway_project.supervise.forked import Request, run_module
run_module(Request("ends", [sys.executable, "-m", "ends", *sys.argv[1:]], {}, [], 0))
"""


@pytest.mark.parametrize("how", ["return", "code", "words", "error"])
def test_forks_end_as_programs_do(tmp_path, how):
    (tmp_path / "ends.py").write_text(ENDS)
    environment = {**os.environ, "PYTHONPATH": f"{tmp_path}:{ROOT}"}
    ended = [
        subprocess.run([sys.executable, *program, how, "more"], env=environment, capture_output=True, text=True,
                       timeout=60, check=False)
        for program in (["-m", "ends"], ["-c", RUN])
    ]  # fmt: skip
    assert len({(each.returncode, each.stdout, *each.stderr.splitlines()[-1:]) for each in ended}) == 1
    assert ended[0].stdout == f"{how} more\nthread\nat the end\n"
