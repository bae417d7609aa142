"""Puts the clients that the tests drive into .state/clients; run as a program, it has patience."""

import fcntl
import hashlib
import shutil
import subprocess
import sys
import time
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path

from tests import uv

HERE = Path(__file__).parent
PLACE = HERE.parents[1] / ".state" / "clients"
OLDEST_NODE = 20
AIDER_PYTHONS = ("python3.12", "python3.11", "python3.10")
QUICK, PATIENT, FORGET = 150, 1800, 300  # seconds
UV_SEC = 90  # it needs ten where it can have everything
ANSWER_SEC = 20  # a registry; busy cores start the program that asks within eight


class Unavailable(Exception):
    """These clients are not here; the message says why."""


def node_clients(patience=QUICK):
    """The folder of the npm packages."""
    return _installed("node", ("package.json", "package-lock.json"), _install_node, patience) / "node_modules"


def aider(patience=QUICK):
    """The executable."""
    return _installed("aider", ("aider.txt",), _install_aider, patience) / "bin" / "aider"


def suites(patience=QUICK):
    """The Python of an environment that has other projects' test suites."""
    return _installed("suites", ("suites.txt",), _install_suites, patience) / "bin" / "python"


def _installed(name, pins, install, patience):
    folder = PLACE / name
    wanted = hashlib.sha256(b"".join((HERE / pin).read_bytes() for pin in pins)).hexdigest()
    with _alone(name):
        stamp = folder / "installed"
        if not stamp.exists() or stamp.read_text() != wanted:
            with _remembered_failure(PLACE / f"{name}.failed", patience):
                shutil.rmtree(folder, ignore_errors=True)
                folder.mkdir()
                install(folder, patience)
                stamp.write_text(wanted)
    return folder


@contextmanager
def _remembered_failure(note, patience):
    """The processes of a test run need not all find out that something cannot be had."""
    if patience == QUICK and note.exists() and time.time() - note.stat().st_mtime < FORGET:
        raise Unavailable(note.read_text())
    try:
        yield
    except Unavailable as exc:
        note.write_text(str(exc))
        raise
    note.unlink(missing_ok=True)


@contextmanager
def _alone(name):
    """Two test processes must not install the same."""
    PLACE.mkdir(parents=True, exist_ok=True)
    with (PLACE / f"{name}.lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        yield


def _install_node(folder, patience):
    version = _run(["node", "--version"], 10, "there is no node")
    if int(version.lstrip("v").partition(".")[0]) < OLDEST_NODE:
        raise Unavailable(f"node {version.strip()} is older than {OLDEST_NODE}")
    known = ["npm", "view", "openai", "version", "--prefer-online", "--fetch-timeout=2000", "--fetch-retries=0"]
    _run(known, ANSWER_SEC, "the npm registry does not answer")
    for name in ("package.json", "package-lock.json"):
        shutil.copy(HERE / name, folder)
    options = ["--no-audit", "--no-fund", "--ignore-scripts", "--loglevel=error"]
    _run(["npm", "install", "--prefer-offline", *options], patience, "npm could not install the clients", folder)
    for package, script in (("@anthropic-ai/claude-code", "install.cjs"), ("opencode-ai", "postinstall.mjs")):
        _run(["node", script], patience, f"{package} is not for this machine", folder / "node_modules" / package)


def _install_aider(folder, patience):
    python = _python_for_aider()
    _ask_index("aider-chat")
    _fill(python, folder, patience, "aider", "--no-deps", "--requirement", HERE / "aider.txt")


def _install_suites(folder, patience):
    _ask_index("langchain-tests")
    required = ("--no-deps", "--require-hashes", "--requirement", HERE / "suites.txt")
    _fill(sys.executable, folder, patience, "the suites", *required)


PIP = (sys.executable, "-m", "pip", "--disable-pip-version-check")


def _ask_index(package):
    known = [*PIP, "index", "versions", package, "--retries=0", "--timeout=2"]
    _run(known, ANSWER_SEC, "the Python package index does not answer")


def _fill(python, folder, patience, what, *required):
    """An environment with what is required: by uv; by pip where that cannot have it."""
    _run([python, "-m", "venv", "--without-pip", folder], patience, "a virtual environment could not be made")
    inside = folder / "bin" / "python"
    try:
        _run([uv.UV, "pip", "install", "--quiet", "--python", inside, *required], UV_SEC, "", env=uv.environment())
    except Unavailable:
        options = ["--quiet", "--quiet", "--no-compile", *required]
        _run([*PIP, "--python", inside, "install", *options], patience, f"pip could not install {what}")


def _python_for_aider():
    for python in AIDER_PYTHONS:
        try:
            return _run([python, "-c", "import sys, ensurepip, venv; print(sys.executable)"], 10, "").strip()
        except Unavailable:
            continue
    raise Unavailable(f"aider needs one of {', '.join(AIDER_PYTHONS)}")


def _run(command, seconds, otherwise, folder=None, env=None):
    """What it prints."""
    try:
        done = subprocess.run(
            command, cwd=folder, env=env, timeout=seconds, check=True, capture_output=True, text=True,
            stdin=subprocess.DEVNULL,
        )  # fmt: skip
    except subprocess.TimeoutExpired:
        raise Unavailable(f"{otherwise} (not within {seconds} s)") from None
    except subprocess.CalledProcessError as exc:
        errors = [line for line in exc.stderr.splitlines() if "error" in line.lower()]
        raise Unavailable(f"{otherwise}: {errors[0][:200] if errors else exc.returncode}") from None
    except OSError:
        raise Unavailable(otherwise) from None
    return done.stdout


def main(patience):
    """Install all at once, and say what cannot be had; the tests that need it are skipped."""
    with ThreadPoolExecutor() as pool:
        running = {each.__name__: pool.submit(each, patience) for each in (node_clients, aider, suites)}
    for name, installed in running.items():
        try:
            told = installed.result()
        except Unavailable as exc:
            told = f"not here: {exc}"
        print(f"{name}: {told}", flush=True)


if __name__ == "__main__":
    main(int(sys.argv[1]) if sys.argv[1:] else PATIENT)
