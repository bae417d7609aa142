"""A PostgreSQL of a trial's own, where the machine has one."""

import os
import pwd
import re
import shutil
import signal
import subprocess
import tempfile
import time
from pathlib import Path
from urllib.parse import quote

from tests.ports import free_port

START_TIMEOUT = 30


def binaries():
    """The directory of the newest installed server; None where there is none."""
    if found := shutil.which("initdb"):
        return Path(found).resolve().parent
    versions = [path.parent for path in Path("/usr/lib/postgresql").glob("*/bin/initdb")]
    return max(versions, key=lambda path: float(path.parent.name), default=None)


def other_user():
    """The server refuses to run as root: who it runs as then; None for ourselves."""
    if os.geteuid():
        return None
    for name in ("postgres", "nobody"):
        try:
            return pwd.getpwnam(name).pw_name
        except KeyError:
            continue
    return None


def version():
    """Of that server, as a part of a file's name: no other version reads its directory."""
    said = subprocess.run([binaries() / "postgres", "--version"], capture_output=True, text=True, check=True).stdout
    return "-".join(re.findall(r"\d+", said)[:2])


class Postgres:
    """A server on a free port, empty or with what `begin` holds, the `data` of one that has ended. Use as a context."""

    def __init__(self, begin=None):
        self._begin = begin
        self.directory = Path(tempfile.mkdtemp(prefix="lgw-trial-pg-"))
        self.data = self.directory / "data"
        self.port = free_port()
        self.url = f"postgres://lgw@127.0.0.1:{self.port}/postgres"
        self.socket_url = f"postgres://lgw@{quote(str(self.directory), safe='')}:{self.port}/postgres"
        """The same by its unix socket, for a process in another network."""
        self._user = other_user()
        self._server = None

    def __enter__(self):
        if self._begin:
            shutil.copytree(self._begin, self.data)
        self._give_to_user()
        if not self._begin:
            self._run("initdb", "--auth=trust", "--username=lgw", "--no-sync", f"--pgdata={self.data}")
        self.start()
        return self

    def __exit__(self, *_):
        self.stop()
        shutil.rmtree(self.directory, ignore_errors=True)

    def _give_to_user(self):
        if self._user:
            for path in (self.directory, *self.directory.rglob("*")):
                shutil.chown(path, self._user)

    def _run(self, program, *arguments):
        subprocess.run(
            [binaries() / program, *arguments], check=True, capture_output=True, user=self._user, cwd=self.directory
        )

    def start(self):
        """Start it, and wait until it takes connections."""
        settings = {"port": self.port, "listen_addresses": "127.0.0.1", "fsync": "off",
                    "unix_socket_directories": self.directory}  # fmt: skip
        options = [part for name, value in settings.items() for part in ("-c", f"{name}={value}")]
        with (self.directory / "log").open("ab") as log:
            self._server = subprocess.Popen(
                [binaries() / "postgres", "-D", self.data, *options],
                stdout=log, stderr=log, user=self._user, cwd=self.directory, start_new_session=True,
            )  # fmt: skip
        deadline = time.monotonic() + START_TIMEOUT
        ask = [binaries() / "pg_isready", "-q", "-h", "127.0.0.1", "-p", str(self.port)]
        while subprocess.run(ask, check=False).returncode:
            if time.monotonic() > deadline or self._server.poll() is not None:
                raise SystemExit(f"PostgreSQL did not start:\n{(self.directory / 'log').read_text()[-2000:]}")
            time.sleep(0.05)

    def stop(self):
        """A fast shutdown: sessions are ended."""
        if self._server is not None:
            self._server.send_signal(signal.SIGINT)
            self._server.wait(START_TIMEOUT)
            self._server = None
