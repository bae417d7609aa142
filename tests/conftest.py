"""Fixtures for everybody."""

import contextlib
import logging
import os
import shutil
import sqlite3

import django.test.utils
import hypothesis
import pytest
from django.conf import settings
from django.db import connection, transaction
from django.test import TransactionTestCase
from django.test.signals import template_rendered
from django.utils import translation
from xdist.scheduler import LoadFileScheduling

from gateway_project.lib import degraded
from gateway_project.lib.database import database_state as database
from gateway_project.log_handler import QueuedHandler
from tests import simulators
from tests.by_file import AllTests
from tests.directories import copy, kept, made_once, migrate, migrate_postgres
from tests.environment import DATA_DIR, start_redis

# How long an example takes says more about what else the machine does than about the code.
hypothesis.settings.register_profile("gateway", deadline=None, max_examples=50)
# The same examples each time: a red build says something of the change, and new examples are looked for elsewhere.
hypothesis.settings.register_profile("ci", deadline=None, max_examples=50, derandomize=True, print_blob=True)
# Looking for what nobody thought of: `HYPOTHESIS_PROFILE=explore make test-unit` takes minutes.
hypothesis.settings.register_profile("explore", deadline=None, max_examples=2000, print_blob=True)
hypothesis.settings.load_profile(os.environ.get("HYPOTHESIS_PROFILE", "gateway"))


TOGETHER = [
    ("aliases", "cors", "crashing_prompts", "tool_sessions"),
    ("key_policies", "limits_explained", "two_processes"),
]
"""Modules in tests/e2e that share a gateway, and so a worker."""

WAITING = ("gateway_project/test_supervise", "e2e/test_log_in", "e2e/test_upstreams", "e2e/")
"""What waits for processes, the longest first."""
LONG = ("house/", "accounts/roles/", "accounts/api/test_document", "accounts/pages/test_usage")
"""What takes the longest of all else. Begun last, it would keep a run from ending while a core is idle."""
PAGES = ("browser/signin/", "browser/walks/test_operator", "browser/walks/test_team_lead", "browser/walks/test_both",
         "browser/walks/test_accessible", "browser/test_playground", "browser/test_usage", "browser/")  # fmt: skip
"""Those of a browser: first what needs to be, then the longest."""


def pytest_collection_modifyitems(items):
    if all(isinstance(item, AllTests) for item in items):
        items[:] = _mixed(items)
    for item in items:
        if any(f"/tests/{folder}/" in item.path.as_posix() for folder in ("e2e", "browser", "trials")):
            item.add_marker(pytest.mark.e2e)
        _drop_idle_fixtures(item)


def _mixed(modules):
    """While some workers wait, others compute: those that wait are spread over four fifths of a run."""
    waiting = [module for module in modules if _place(module, WAITING) < len(WAITING)]
    others = [module for module in modules if module not in waiting]
    if not waiting or not others:
        return sorted(modules, key=lambda module: _place(module, PAGES))
    waiting.sort(key=lambda module: _place(module, WAITING))
    others.sort(key=lambda module: (_place(module, LONG), -module.path.stat().st_size))
    times = [(0.8 * number / len(waiting), module) for number, module in enumerate(waiting)]
    times += [(number / len(others), module) for number, module in enumerate(others)]
    return [module for _, module in sorted(times, key=lambda each: each[0])]


def _place(module, folders):
    path = module.path.as_posix()
    return next((number for number, part in enumerate(folders) if f"/tests/{part}" in path), len(folders))


IDLE = {
    "_django_clear_site_cache", "_django_db_marker", "_django_isolate_apps", "_django_set_urlconf",
    "_django_setup_unittest", "_dj_autoclear_mailbox", "_fail_for_invalid_template_variable", "_live_server_helper",
    "_template_string_if_invalid_marker",
}  # fmt: skip
"""Fixtures of pytest-django that every test gets, and that do something for tests with a certain mark only."""


def _drop_idle_fixtures(item):
    """They, and what they alone ask for, were half of what a small test costs. The one mark that is used here is
    `django_db`."""
    names = getattr(item, "fixturenames", None)
    if names is not None:
        idle = IDLE - ({"_django_db_marker"} if item.get_closest_marker("django_db") else set())
        info = item._fixtureinfo
        needed = _needed(info, [name for name in info.initialnames if name not in idle])
        # `request` is made wherever it is asked for, even when it is there.
        needed -= {"request"} - set(info.argnames)
        item.fixturenames = [name for name in names if name in needed or name not in info.names_closure]


def _needed(info, names):
    """They and all that they ask for."""
    found = set()
    while names:
        name = names.pop()
        if name not in found:
            found.add(name)
            names += [other for fixture in info.name2fixturedefs.get(name, ()) for other in fixture.argnames]
    return found


class ByGateway(LoadFileScheduling):
    """A module stays on one worker, together with those that share a gateway, or the syntax trees of everything."""

    def _split_scope(self, nodeid):
        path = super()._split_scope(nodeid)
        if path.startswith("tests/house/"):
            return "tests/house"  # which reads every module, once in a process
        name = path.removeprefix("tests/e2e/test_").removesuffix(".py")
        return next((" ".join(names) for names in TOGETHER if name in names), path)

    def _reschedule(self, node):
        """One module runs and one waits: more of them would wait for a long one while another worker has nothing."""
        if not self.workqueue or self._pending_of(self.assigned_work[node]) < 2:
            super()._reschedule(node)

    def remove_node(self, node):
        """What a worker died of is not begun again."""
        modules = [module for unit in self.assigned_work[node].values() for module in unit.items()]
        died_of = next((name for name, done in modules if not done), None)
        for unit in self.assigned_work[node].values():
            if died_of in unit:
                unit[died_of] = True
        super().remove_node(node)
        return died_of


@pytest.hookimpl(optionalhook=True)
def pytest_xdist_make_scheduler(config, log):
    return ByGateway(config, log) if config.getvalue("dist") == "loadfile" else None


def pytest_addoption(parser):
    parser.addoption("--update-golden", action="store_true", help="write what is told now into tests/golden")


def pytest_terminal_summary(terminalreporter):
    """What tests have measured and assert nothing of, as it says more of the machine."""
    called = [report for report in terminalreporter.getreports("passed") if report.when == "call"]
    measured = [(each.nodeid, *named) for each in called for named in each.user_properties]
    measured = [each for each in measured if isinstance(each[2], int | float)]
    if measured:
        terminalreporter.section("measured")
        for nodeid, name, value in measured:
            terminalreporter.line(f"{value:>8,}  {name}  ({nodeid.rpartition('::')[2]})")


def pytest_sessionstart():
    simulators.fork_them()
    # Pages name their static files as they are; the manifest of hashed names exists in an installation only.
    settings.STORAGES["staticfiles"]["BACKEND"] = "django.contrib.staticfiles.storage.StaticFilesStorage"
    # A good hash takes a quarter of a second, and tests of pages make many users. Real processes have the real one.
    settings.PASSWORD_HASHERS = ["django.contrib.auth.hashers.MD5PasswordHasher"]
    # Django tells its test client of each part of a page, with a copy of its context. Tests look at those of pages.
    django.test.utils.instrumented_test_render = _rendered


def _rendered(template, context):
    """Stands for `Template._render`."""
    if context.template is template:
        template_rendered.send(sender=template, template=template, context=context)
    return template.nodelist.render(context)


@pytest.hookimpl(tryfirst=True)
def pytest_runtest_setup():
    """Log records go to pytest, which shows those of a test that failed. Celery, once loaded, asks for ours again."""
    root = logging.getLogger()
    for handler in [handler for handler in root.handlers if isinstance(handler, QueuedHandler)]:
        root.removeHandler(handler)
        handler.close()


@pytest.hookimpl(trylast=True)
def pytest_runtest_teardown():
    """A trouble that one test has met is not the next one's, nor is the language of the page that it has seen last."""
    degraded._active.clear()
    database.works()
    translation.deactivate()


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
def migrated_postgres(tmp_path_factory, pytestconfig):
    """The directory of a PostgreSQL with tables, which those copy that are not about making them."""
    from tests.trials.postgres import binaries, version

    if binaries() is None:
        pytest.skip("there is no PostgreSQL on this machine")
    name = f"postgres-{version()}"
    return made_once(tmp_path_factory, name, kept(pytestconfig.cache, name, migrate_postgres)) / "data"


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
        with django_db_blocker.unblock(), connection.cursor() as cursor:
            # Threads that answer the next question, too, keep their connections; with one a database is not dropped.
            cursor.execute(
                "SELECT pg_terminate_backend(pid) FROM pg_stat_activity"
                " WHERE datname = current_database() AND pid <> pg_backend_pid()"
            )
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
