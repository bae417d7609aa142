"""The programs of a gateway in several places, as containers have them: PostgreSQL and Redis are what they share."""

import json
import signal
import time
import urllib.request
from concurrent.futures import ThreadPoolExecutor

import psycopg
import pytest

from accounts.ledger.spool import waiting
from tests.accounts.conftest import OwnRedis
from tests.e2e.installation import until
from tests.environment import start_redis
from tests.gateway_project.gateway import Gateway
from tests.processes import command_line
from tests.trials.postgres import Postgres

pytestmark = pytest.mark.e2e
KEY = "lgw_a_key_that_was_given_to_all_of_them"


@pytest.fixture(scope="module")
def shared(tmp_path_factory):
    """Variables of every place: servers and secrets, none of which is in a DATA_DIR."""
    directory = tmp_path_factory.mktemp("redis")
    secrets = {"SECRET_KEY": "d" * 40, "SECRET_KEYS": "r" * 40, "KEY_PEPPER": "p" * 40, "ADMIN_PASSWORD": "a good one"}
    redis = start_redis(directory)
    with Postgres() as postgres:
        yield {"DATABASE_URL": postgres.url, "REDIS_URL": f"unix://{directory}/redis.sock", "API_KEYS": KEY, **secrets}
    redis.terminate()
    redis.wait()


def prepared(directory, shared):
    with Gateway(directory, programs=["prepare"], **shared) as gateway:
        code, errors = gateway.ended()
        return code, errors, "\n".join(gateway.lines)


def test_starts_at_once_prepare_one_after_the_other(shared, tmp_path):
    with ThreadPoolExecutor(3) as pool:
        runs = list(pool.map(lambda number: prepared(tmp_path / str(number), shared), range(3)))
    assert [(code, errors) for code, errors, _ in runs] == [(0, "")] * 3
    assert all("prepared" in output for *_, output in runs)
    with psycopg.connect(shared["DATABASE_URL"]) as connection:
        assert connection.execute("SELECT count(*) FROM accounts_apikey").fetchone() == (1,)
        assert connection.execute("SELECT count(*) FROM auth_user").fetchone() == (1,)


def ask(port):
    body = {"model": "org_auto", "messages": [{"role": "user", "content": "Hello"}]}
    headers = {"Authorization": f"Bearer {KEY}"}
    request = urllib.request.Request(f"http://127.0.0.1:{port}/v1/chat/completions", json.dumps(body).encode(), headers)
    with urllib.request.urlopen(request, timeout=60) as answer:
        return answer.headers["x-request-id"]


def filed(url, request_id):
    deadline = time.monotonic() + 60
    with psycopg.connect(url, autocommit=True) as connection:
        while not connection.execute("SELECT 1 FROM accounts_usage WHERE request_id = %s", [request_id]).fetchone():
            assert time.monotonic() < deadline, "the row was not filed"
            time.sleep(0.05)


def running(gateway):
    """Names of the programs."""
    titles = [" ".join(command_line(each)) for each in gateway.descendants()]
    words = ("gateway_project.server", "gateway_project.celery worker", "gateway_project.celery beat", "login_worker")
    return {word for word in words if any(word in title for title in titles)}


def test_turn_of_one_place_is_filed_by_another(shared, tmp_path):
    with (
        Gateway(tmp_path / "web", programs=["web"], NODE_NAME="web", **shared) as web,
        Gateway(tmp_path / "worker", programs=["worker"], NODE_NAME="back", **shared) as back,
        Gateway(tmp_path / "beat", programs=["beat"], NODE_NAME="clock", **shared) as clock,
    ):
        web.until("Lingma gateway, ready")
        back.until(r"^worker .* ready")
        assert running(web) == {"gateway_project.server"}
        assert running(back) == {"gateway_project.celery worker"}
        assert until(lambda: running(clock)) == {"gateway_project.celery beat"}
        filed(shared["DATABASE_URL"], ask(web.port))
        for gateway in (web, back, clock):
            gateway.process.send_signal(signal.SIGTERM)
            assert gateway.ended() == (0, "")


@pytest.fixture
def own_redis(tmp_path):
    server = OwnRedis(tmp_path)
    yield server
    server.kill()


def test_rows_of_an_outage_are_filed_elsewhere(shared, own_redis, tmp_path):
    variables = {**shared, "REDIS_URL": own_redis.url}
    with (
        Gateway(tmp_path / "web", programs=["web"], NODE_NAME="web", **variables) as web,
        Gateway(tmp_path / "worker", programs=["worker"], NODE_NAME="back", **variables) as back,
    ):
        web.until("Lingma gateway, ready")
        back.until(r"^worker .* ready")
        own_redis.kill()
        request_id = ask(web.port)
        assert until(lambda: waiting(tmp_path / "web/spool"))
        own_redis.start()
        filed(shared["DATABASE_URL"], request_id)
        assert until(lambda: not waiting(tmp_path / "web/spool"))
