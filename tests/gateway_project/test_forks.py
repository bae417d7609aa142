"""What the fork server loads, how forks end, and a start without it."""

import os
import signal
import subprocess
import sys

import pytest

from tests.gateway_project.gateway import ROOT, Gateway
from tests.gateway_project.test_supervise import answers
from tests.processes import command_line

pytestmark = pytest.mark.e2e

SERVER = "gateway_project.supervise.forkserver"
PARTS = {"web-1": "gateway_project.server", "worker": "gateway_project.celery worker"}


def parts(gateway):
    """The processes by their names in the output."""
    return {name: gateway.descendant(*words.split()) for name, words in PARTS.items()}


def shared_mib(process):
    """Memory that was written to, and is shared with others all the same: a fork has much of it."""
    with open(f"/proc/{process.pid}/smaps_rollup") as file:
        figures = {name: figure.split()[0] for name, _, figure in (line.partition(":") for line in file) if figure}
    return int(figures["Shared_Dirty"]) >> 10


UNABLE = """
import sys
from gateway_project.supervise import __main__, forks
forks.can_fork, sys.argv = lambda: False, ["supervise"]  # what follows names the module
sys.exit(__main__.main())
"""


def test_gateway_starts_where_forks_are_impossible(data_dir):
    with Gateway(data_dir, wrapper=(sys.executable, "-c", UNABLE)) as gateway:
        gateway.complete()
        assert answers(gateway) == 200
        assert not any(SERVER in command_line(each) for each in gateway.descendants())
        assert shared_mib(parts(gateway)["web-1"]) < 5
        gateway.process.send_signal(signal.SIGTERM)
        assert gateway.ended() == (0, "")


LOADED = """
import os, sys
from gateway_project.lib.processes import preloading
from gateway_project.lib.secrets.random_bytes import BLOCK
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


def test_modules_loaded_before_forks_are_safe(tmp_path):
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
    print(*sys.argv[1:])
    threading.Thread(target=lambda: (time.sleep(0.2), print("thread"))).start()
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
