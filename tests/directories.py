"""Data directories that are made once and copied: at a first start, tables and static files take the longest."""

import fcntl
import os
import shutil
import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).parents[1]
MIGRATE = """
import django; django.setup()
from gateway_project.supervise.prepare import collect_static, migrate
migrate(); collect_static()
"""


def made_once(tmp_path_factory, name, make):
    """A directory that one process of the run makes, and all others find."""
    base = tmp_path_factory.getbasetemp()
    place = (base.parent if "PYTEST_XDIST_WORKER" in os.environ else base) / name
    with place.with_suffix(".lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        if not place.exists():
            draft = place.with_suffix(".new")
            shutil.rmtree(draft, ignore_errors=True)
            draft.mkdir(mode=0o700)
            make(draft)
            draft.rename(place)
    return place


def migrate(data_dir):
    """All tables and static files, and nobody in it yet: no user, no key."""
    env = {**os.environ, "DATA_DIR": str(data_dir), "DJANGO_SETTINGS_MODULE": "gateway_project.settings"}
    subprocess.run([sys.executable, "-W", "ignore", "-c", MIGRATE], cwd=ROOT, env=env, check=True, timeout=120)


def copy(template, data_dir, *left_out):
    """A directory of one's own; static files, which are only ever replaced, are the same files."""
    ignored = shutil.ignore_patterns("*.sock", *left_out)
    shutil.copytree(template, data_dir, dirs_exist_ok=True, copy_function=_copy_or_link, ignore=ignored)
    return data_dir


def _copy_or_link(source, target):
    return os.link(source, target) if "/static/" in source else shutil.copy2(source, target)
