"""Data directories that are made once and copied: at a first start, tables and static files take the longest."""

import fcntl
import hashlib
import os
import shutil
import subprocess
import sys
import tempfile
import time
from pathlib import Path

from gateway_project.supervise.prepare import static_version

ROOT = Path(__file__).parents[1]
KEPT_SEC = 86400
"""Nothing in them is older, as far as anything in them may end."""
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


def kept(cache, name, make):
    """`make`, or a copy of what it made in an earlier run: the same sources make the same directory."""
    if os.environ.get("DATABASE_URL"):
        return make  # the tables are elsewhere

    def make_or_copy(directory):
        folder = cache.mkdir("data-directories")
        place = folder / f"{name}-{_sources()}"
        with (folder / f"{name}.lock").open("w") as lock:
            fcntl.flock(lock, fcntl.LOCK_EX)  # another run may be at it
            if place.exists() and time.time() - place.stat().st_ctime < KEPT_SEC:
                shutil.copytree(place, directory, dirs_exist_ok=True)
                return
            make(directory)
            for old in (*folder.glob(f"{name}-*"), folder / f"{name}.new"):
                shutil.rmtree(old, ignore_errors=True)
            copied = shutil.copytree(directory, folder / f"{name}.new", ignore=shutil.ignore_patterns("*.sock"))
            copied.rename(place)

    return make_or_copy


def _sources():
    """A digest of all that a first start reads, and of what fills the directory afterwards."""
    digest = hashlib.sha256(f"{sys.version}{static_version()}".encode())
    folders = ("gateway_project", "bridge", "accounts", "sessions_store")
    paths = [path for folder in folders for path in (ROOT / folder).rglob("*.py")]
    ours = (Path(__file__), ROOT / "tests" / "e2e" / "installation.py", ROOT / "tests" / "trials" / "postgres.py")
    for path in sorted([*paths, *ours]):
        digest.update(f"{path}".encode() + path.read_bytes())
    return digest.hexdigest()[:32]


def migrate(data_dir, **variables):
    """All tables and static files, and nobody in it yet: no user, no key."""
    env = {**os.environ, "DATA_DIR": str(data_dir), "DJANGO_SETTINGS_MODULE": "gateway_project.settings", **variables}
    subprocess.run([sys.executable, "-W", "ignore", "-c", MIGRATE], cwd=ROOT, env=env, check=True, timeout=270)


def migrate_postgres(directory):
    """The same tables in a PostgreSQL that has ended: what `Postgres` may begin with is then `data`."""
    from tests.trials.postgres import Postgres  # few tests need one

    with Postgres() as server, tempfile.TemporaryDirectory() as data_dir:
        migrate(data_dir, DATABASE_URL=server.url)
        server.stop()
        shutil.copytree(server.data, directory / "data")


def copy(template, data_dir, *left_out):
    """A directory of one's own; static files, which are only ever replaced, are the same files."""
    ignored = shutil.ignore_patterns("*.sock", *left_out)
    shutil.copytree(template, data_dir, dirs_exist_ok=True, copy_function=_copy_or_link, ignore=ignored)
    return data_dir


def _copy_or_link(source, target):
    return os.link(source, target) if "/static/" in source else shutil.copy2(source, target)
