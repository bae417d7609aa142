"""What the gateway writes is for its own user: by any command, in any directory."""

import os
import stat
import subprocess
import sys
from itertools import chain
from pathlib import Path

import pytest

from gateway_project.env import Environment
from gateway_project.lib.secrets import private
from gateway_project.supervise.preflight import keep_private
from tests.gateway_project.gateway import ROOT


def manage(data_dir, *words):
    """A command of Django's, started by somebody with the usual umask."""
    done = subprocess.run(
        [sys.executable, "manage.py", *words], cwd=ROOT, env={**os.environ, "DATA_DIR": str(data_dir)},
        capture_output=True, text=True, check=False, timeout=60, umask=0o022,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    return done.stdout + done.stderr


def open_to_others(directory):
    """But for what every visitor of the console gets."""
    found = [directory, *(Path(place, name) for place, *names in os.walk(directory) for name in chain(*names))]
    return [path for path in found if mode_of(path) & 0o077 and "static" not in path.parent.parts]


def mode_of(path):
    """None of its bits when it is gone by now: a gateway that runs makes files and takes them away."""
    try:
        return path.lstat().st_mode
    except FileNotFoundError:
        return 0


def test_a_command_that_runs_first_makes_private_files(tmp_path):
    manage(tmp_path / "new" / "data", "migrate", "contenttypes", "--verbosity=0")
    assert (tmp_path / "new" / "data" / "gateway.sqlite3").exists()
    assert open_to_others(tmp_path / "new") == []


@pytest.fixture
def wide(tmp_path):
    """A data directory as it should not be, with a database beside it."""
    data_dir = tmp_path / "data"
    for directory in (data_dir, *(data_dir / name for name in ("redis", "spool", "secrets"))):
        directory.mkdir()
        (directory / "file").touch()
    (tmp_path / "other.sqlite3-wal").touch()
    for path in tmp_path.rglob("*"):
        path.chmod(0o755 if path.is_dir() else 0o644)
    return data_dir


def test_stores_are_narrowed_wherever_they_are(wide):
    env = Environment(_env_file=None, DATABASE_URL=f"sqlite:///{wide.parent}/other.sqlite3")
    (line,) = keep_private(env, wide)
    assert f"{wide} and 8 more" in line
    assert open_to_others(wide) == []
    assert stat.S_IMODE((wide.parent / "other.sqlite3-wal").stat().st_mode) == 0o600
    assert keep_private(env, wide) == []


def test_foreign_volume_is_reported_and_left(wide, monkeypatch):
    monkeypatch.setattr(private.os, "geteuid", lambda: 4711)
    (line,) = keep_private(Environment(_env_file=None), wide)
    assert "not ours to change" in line
    assert stat.S_IMODE(wide.stat().st_mode) == 0o755


def test_directory_for_everybody_is_left_alone(wide):
    wide.chmod(0o1777)
    assert "not ours to change" in keep_private(Environment(_env_file=None), wide)[-1]
    assert stat.S_IMODE(wide.stat().st_mode) == 0o1777


def test_a_link_is_not_followed(wide, tmp_path):
    foreign = tmp_path / "foreign"
    foreign.touch()
    foreign.chmod(0o644)
    (wide / "redis" / "link").symlink_to(foreign)
    keep_private(Environment(_env_file=None), wide)
    assert stat.S_IMODE(foreign.stat().st_mode) == 0o644
