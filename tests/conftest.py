"""Fixtures for everybody."""

import contextlib
import logging
import os
import shutil
import sqlite3

import hypothesis
import pytest
from django.conf import settings
from django.db import connection, transaction
from django.test import TransactionTestCase
from xdist.scheduler import LoadFileScheduling

from gateway_project.lib import database_state as database
from gateway_project.lib import degraded
from gateway_project.log_handler import QueuedHandler
from tests.directories import copy, kept, made_once, migrate
from tests.environment import DATA_DIR, start_redis

# How long an example takes says more about what else the machine does than about the code.
hypothesis.settings.register_profile("gateway", deadline=None, max_examples=50)
# The same examples each time: a red build says something of the change, and new examples are looked for elsewhere.
hypothesis.settings.register_profile("ci", deadline=None, max_examples=50, derandomize=True, print_blob=True)
# Looking for what nobody thought of: `HYPOTHESIS_PROFILE=explore make test-unit` takes minutes.
hypothesis.settings.register_profile("explore", deadline=None, max_examples=2000, print_blob=True)
hypothesis.settings.load_profile(os.environ.get("HYPOTHESIS_PROFILE", "gateway"))


TOGETHER = [
    ("aliases", "cors", "crashing_prompts", "retries", "tool_sessions"),
    ("key_policies", "limits_explained", "two_processes"),
]
"""Modules in tests/e2e that share a gateway, and so a worker."""

FIRST = ("gateway_project/test_supervise", "e2e/")
"""What waits for processes, the longest first: begun last, it would keep a run from ending while a core is idle."""


def pytest_collection_modifyitems(items):
    def place(item):
        path = item.path.as_posix()
        return next((number for number, part in enumerate(FIRST) if f"/tests/{part}" in path), len(FIRST))

    items.sort(key=place)
    for item in items:
        if any(f"/tests/{folder}/" in item.path.as_posix() for folder in ("e2e", "browser", "trials")):
            item.add_marker(pytest.mark.e2e)


class ByGateway(LoadFileScheduling):
    """A module stays on one worker, together with those that share a gateway, or the syntax trees of everything."""

    def _split_scope(self, nodeid):
        path = super()._split_scope(nodeid)
        if path.startswith("tests/house/"):
            return "tests/house"  # which reads every module, once in a process
        name = path.removeprefix("tests/e2e/test_").removesuffix(".py")
        return next((" ".join(names) for names in TOGETHER if name in names), path)


@pytest.hookimpl(optionalhook=True)
def pytest_xdist_make_scheduler(config, log):
    return ByGateway(config, log) if config.getvalue("dist") == "loadfile" else None


def pytest_addoption(parser):
    parser.addoption("--update-golden", action="store_true", help="write what is told now into tests/golden")


@pytest.fixture(scope="session", autouse=True)
def plain_static_files():
    """Pages name their static files as they are; the manifest of hashed names exists in an installation only."""
    settings.STORAGES["staticfiles"]["BACKEND"] = "django.contrib.staticfiles.storage.StaticFilesStorage"


@pytest.fixture(scope="session", autouse=True)
def quick_passwords():
    """A good hash takes a quarter of a second, and tests of pages make many users. Real processes have the real one."""
    settings.PASSWORD_HASHERS = ["django.contrib.auth.hashers.MD5PasswordHasher"]


@pytest.fixture(autouse=True)
def no_log_between_the_dots():
    """Log records go to pytest, which shows those of a test that failed. Celery, once loaded, asks for ours again."""
    root = logging.getLogger()
    for handler in [handler for handler in root.handlers if isinstance(handler, QueuedHandler)]:
        root.removeHandler(handler)
        handler.close()


@pytest.fixture(autouse=True)
def well():
    """A trouble that one test has met is not the next one's."""
    yield
    degraded._active.clear()
    database.works()


@pytest.fixture(scope="session")
def redis_server():
    """The embedded server that the default settings point at."""
    server = start_redis(DATA_DIR)
    yield f"unix://{DATA_DIR / 'redis.sock'}"
    server.terminate()
    server.wait()


@pytest.fixture(scope="session")
def migrated(tmp_path_factory, pytestconfig):
    """A data directory with tables and static files, for first starts that are not about making them."""
    return made_once(tmp_path_factory, "migrated", kept(pytestconfig.cache, "migrated", migrate))


@pytest.fixture(scope="session")
def template(tmp_path_factory, pytestconfig, migrated):
    """A prepared data directory that gateways start from."""
    from tests.e2e.installation import prepare  # what it needs is loaded where it is asked for

    def make(directory):
        prepare(copy(migrated, directory))

    return made_once(tmp_path_factory, "template", kept(pytestconfig.cache, "template", make))


@pytest.fixture(scope="session")
def django_db_keepdb(request):
    """pytest-django's. On SQLite the tables are copied: to apply all migrations anew takes two seconds a process."""
    if connection.vendor != "sqlite":
        return False
    migrated = request.getfixturevalue("migrated")
    shutil.copy(migrated / "gateway.sqlite3", settings.DATABASES["default"]["TEST"]["NAME"])
    return True


@pytest.fixture(scope="session")
def django_db_setup(django_db_setup, django_db_blocker):
    """pytest-django's. After a test with transactions of its own, Django empties all tables and has the apps fill them
    again, which takes longer than most of these tests; SQLite copies the file as it was."""
    if connection.vendor != "sqlite":
        yield
        return
    with contextlib.closing(sqlite3.connect(":memory:")) as migrated, pytest.MonkeyPatch.context() as patch:
        with django_db_blocker.unblock():
            connection.ensure_connection()
            connection.connection.backup(migrated)

        def restore(test_case):
            connection.ensure_connection()
            migrated.backup(connection.connection)

        patch.setattr(TransactionTestCase, "_fixture_teardown", restore)
        yield


@pytest.fixture(scope="module")
def shared_rows(django_db_setup, django_db_blocker):
    """Rows that a module's own fixtures make once: each of its tests begins with them, and its changes are undone."""
    with django_db_blocker.unblock(), transaction.atomic():
        yield
        transaction.set_rollback(True)


@pytest.fixture
def data_dir(tmp_path, migrated):
    """A copy of it."""
    return copy(migrated, tmp_path / "data")
