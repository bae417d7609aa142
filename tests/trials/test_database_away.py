"""A gateway on a real PostgreSQL that is restarted, or silent: known keys go on, nobody hangs, nothing is lost."""

import itertools
import os
import signal
import time
from contextlib import contextmanager

import pytest

from tests.doors import Door
from tests.e2e import shell
from tests.e2e.formats import ANTHROPIC, OPENAI, send
from tests.e2e.installation import KEY, OTHER_KEY, Gateway, environment, prepare, until
from tests.trials.postgres import Postgres

numbers = itertools.count()
PATHS = ("/v1/chat/completions", "/v1/responses", "/v1/messages")
FLUSH = """
from accounts.models import Usage
from accounts.tasks import flush_usage
flush_usage()
from gateway_project.lib.database import database_state as database
print(database.away() or Usage.objects.count())
"""


class OnPostgres(Gateway):
    """A gateway, its server and the door between them."""

    def __init__(self, server, door, data_dir, template, **settings):
        self.server, self.door = server, door
        super().__init__(data_dir, template, **settings)

    def known(self, wire=OPENAI):
        """A turn of a key in use; how long it took."""
        began = time.monotonic()
        assert self.ask(wire, "[[sim: text=served]] x").status == 200
        return time.monotonic() - began

    def unknown(self, path=PATHS[0]):
        """What a key never seen is told."""
        return send(self, "POST", path, key=f"never-seen-{next(numbers)}", body={"model": "m", "messages": []})

    def troubles(self):
        """Lines of the log on the database's coming and going."""
        return [
            line for line in self.output().splitlines() if "degraded: database" in line or "again: database" in line
        ]

    def flush(self):
        """What the worker does each two seconds, in a process that does not know yet how the database is."""
        return shell.once(environment(self.data_dir, **self._settings), FLUSH)


@pytest.fixture(scope="module")
def gateway(tmp_path_factory, migrated_postgres):
    with Postgres(migrated_postgres) as server, Door(server.port) as door:
        url = server.url.replace(str(server.port), str(door.port))
        template = tmp_path_factory.mktemp("template")
        prepare(template, special_keys=False, DATABASE_URL=url)
        with OnPostgres(server, door, tmp_path_factory.mktemp("away"), template, DATABASE_URL=url) as running:
            yield running


@contextmanager
def harmed(gateway, begin, end):
    """What happens to the database in between; it has been met, and is over at the end."""
    gateway.known()
    until(lambda: gateway.unknown().status == 401)
    begin()
    try:
        yield
    finally:
        end()
    until(lambda: gateway.unknown().status == 401)


def test_restart_is_unnoticed_with_a_known_key(gateway):
    with harmed(gateway, gateway.server.stop, gateway.server.start):
        answer = until(lambda: (found := gateway.unknown()).status == 503 and found)
        assert int(answer.headers["retry-after"]) > 0
        for _ in range(3):
            gateway.known()
    gateway.known(ANTHROPIC)
    until(lambda: len(gateway.troubles()) == 2)  # one on the way in, one on the way out


@pytest.mark.parametrize("path", PATHS)
def test_silent_database_delays_no_known_key(gateway, path):
    with harmed(gateway, gateway.door.swallow, gateway.door.heal):
        until(lambda: gateway.unknown(path).status == 503)
        before = time.monotonic()
        for _ in range(10):
            assert gateway.unknown(path).status == 503
            gateway.known()
        both = send(gateway, "POST", path, key="never-seen", headers={"x-api-key": KEY}, body={"model": "m"})
        assert both.status == 400  # for its body: one of two keys is enough
        assert time.monotonic() - before < 10  # one that waited for the database would take two seconds


def test_console_reports_a_silent_database(gateway):
    cookie = {"cookie": "sessionid=whatever"}
    with harmed(gateway, gateway.door.swallow, gateway.door.heal):
        page = send(gateway, "GET", "/admin/", headers=cookie)
        assert page.status == 503
        assert b"The database is away" in page.body
        api = send(gateway, "GET", "/api/keys/", headers=cookie)
        assert (api.status, "database" in api.json()["detail"]) == (503, True)
    assert send(gateway, "GET", "/admin/", headers=cookie).status == 302
    assert "Traceback" not in gateway.output()


def test_rows_wait_for_a_silent_database(gateway):
    with harmed(gateway, gateway.door.swallow, gateway.door.heal):
        id_ = gateway.ask(OPENAI, "[[sim: text=kept]] x").headers["x-request-id"]
        assert gateway.flush() == "True"  # it is away, and nothing hung
        assert id_ in gateway.rows()
    assert int(gateway.flush()) > 0
    assert gateway.rows() == {}


def test_known_key_works_without_database_and_redis(gateway):
    assert gateway.ask(OPENAI, "[[sim: text=served]] x", key=OTHER_KEY).status == 200
    with harmed(gateway, gateway.door.swallow, gateway.door.heal):
        os.kill(gateway._redis.pid, signal.SIGSTOP)
        try:
            for key in (KEY, OTHER_KEY):
                assert gateway.ask(OPENAI, "[[sim: text=served]] x", key=key).status == 200
        finally:
            os.kill(gateway._redis.pid, signal.SIGCONT)
