"""Puts the clients that the tests drive into .state/clients; run as a program, it has patience."""

import fcntl
import hashlib
import shutil
import subprocess
import sys
from contextlib import contextmanager
from pathlib import Path

HERE = Path(__file__).parent
PLACE = HERE.parents[1] / ".state" / "clients"
OLDEST_NODE = 20
AIDER_PYTHONS = ((3, 10), (3, 13))  # from the first on, below the second
QUICK, PATIENT = 150, 1800  # seconds


class Unavailable(Exception):
    """These clients are not here; the message says why."""


def node_clients(patience=QUICK):
    """The folder of the npm packages."""
    return _installed("node", ("package.json", "package-lock.json"), _install_node, patience) / "node_modules"


def aider(patience=QUICK):
    """The executable."""
    return _installed("aider", ("aider.txt",), _install_aider, patience) / "bin" / "aider"


def _installed(name, pins, install, patience):
    folder = PLACE / name
    wanted = hashlib.sha256(b"".join((HERE / pin).read_bytes() for pin in pins)).hexdigest()
    with _alone(name):
        stamp = folder / "installed"
        if not stamp.exists() or stamp.read_text() != wanted:
            shutil.rmtree(folder, ignore_errors=True)
            folder.mkdir()
            install(folder, patience)
            stamp.write_text(wanted)
    return folder


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
    _run(known, 8, "the npm registry does not answer")
    for name in ("package.json", "package-lock.json"):
        shutil.copy(HERE / name, folder)
    options = ["--no-audit", "--no-fund", "--ignore-scripts", "--loglevel=error"]
    _run(["npm", "install", *options], patience, "npm could not install the clients", folder)
    for package, script in (("@anthropic-ai/claude-code", "install.cjs"), ("opencode-ai", "postinstall.mjs")):
        _run(["node", script], patience, f"{package} is not for this machine", folder / "node_modules" / package)


def _install_aider(folder, patience):
    if not AIDER_PYTHONS[0] <= sys.version_info[:2] < AIDER_PYTHONS[1]:
        raise Unavailable("aider is not for this version of Python")
    pip = [sys.executable, "-m", "pip", "--disable-pip-version-check"]
    known = [*pip, "index", "versions", "aider-chat", "--retries=0", "--timeout=2"]
    _run(known, 8, "the Python package index does not answer")
    _run([sys.executable, "-m", "venv", str(folder)], patience, "a virtual environment could not be made")
    options = ["--quiet", "--quiet", "--no-deps", "--no-compile", "--requirement", str(HERE / "aider.txt")]
    _run([str(folder / "bin" / "pip"), "install", *options], patience, "pip could not install aider")


def _run(command, seconds, otherwise, folder=None):
    """What it prints."""
    try:
        done = subprocess.run(
            command, cwd=folder, timeout=seconds, check=True, capture_output=True, text=True, stdin=subprocess.DEVNULL
        )
    except subprocess.TimeoutExpired:
        raise Unavailable(f"{otherwise} (not within {seconds} s)") from None
    except subprocess.CalledProcessError as exc:
        raise Unavailable(f"{otherwise}: {exc.stderr.strip()[-300:]}") from None
    except OSError:
        raise Unavailable(otherwise) from None
    return done.stdout


def main():
    """Install all; the exit code."""
    problems = []
    for install in (node_clients, aider):
        try:
            print(f"{install.__name__}: {install(PATIENT)}", flush=True)
        except Unavailable as exc:
            problems.append(f"{install.__name__}: {exc}")
    print("\n".join(problems))
    return 1 if problems else 0


if __name__ == "__main__":
    sys.exit(main())
