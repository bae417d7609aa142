"""A Redis that can never work is said in one line at the start; one that is only full, or loading, is not."""

import time
from concurrent.futures import ThreadPoolExecutor, wait

import pytest
import redis

from gateway_project.env import Environment
from gateway_project.supervise import prepare
from tests.accounts.conftest import OwnRedis
from tests.doors import Authority, Door
from tests.gateway_project.gateway import Gateway
from tests.gateway_project.served import until


@pytest.fixture
def server(tmp_path):
    server = OwnRedis(tmp_path)
    with redis.Redis.from_url(server.url) as server.admin:
        yield server
    server.kill()


def trouble(url):
    return prepare.redis_trouble(Environment(_env_file=None, redis_url=url))


def test_a_server_that_is_well_is_used(server):
    assert trouble(server.url) is None


def test_a_replica_is_refused(server):
    server.admin.replicaof("127.0.0.1", "1")
    assert trouble(server.url).words == "REDIS_URL: Redis cannot be used: it is a read-only replica. Name the primary."


def test_a_node_of_a_cluster_is_refused(tmp_path):
    server = OwnRedis(tmp_path, "--cluster-enabled", "yes")
    try:
        assert "it is a node of a cluster. Name a single server" in trouble(server.url).words
    finally:
        server.kill()


def test_a_server_that_evicts_rows_is_refused(server):
    server.admin.config_set("maxmemory-policy", "allkeys-lru")
    server.admin.config_set("maxmemory", "1gb")
    assert "maxmemory-policy is allkeys-lru: usage rows would be thrown away" in trouble(server.url).words


def test_start_works_with_full_server(server):
    server.admin.config_set("maxmemory", 1)
    assert trouble(server.url) is None


def test_start_waits_for_loading_server(tmp_path):
    """It loads for half a minute, or until this test has seen that it does."""
    # While it loads it answers after each 1024 keys. On a busy machine a pause is longer than it was asked for.
    server = OwnRedis(tmp_path, "--appendonly", "yes", "--key-load-delay", "10")
    with redis.Redis.from_url(server.url) as admin:
        for first in range(0, 200_000, 10_000):  # in pieces: the client waits for an answer for some seconds only
            admin.eval("for n = 1, 10000 do redis.call('SET', ARGV[1] + n, n) end", 0, first)
    server.kill()
    try:
        assert_it_is_waited_for(server)
    finally:
        server.kill()


def assert_it_is_waited_for(server):
    env = Environment(_env_file=None, redis_url=server.url)
    with ThreadPoolExecutor(2) as background, redis.Redis.from_url(server.url) as admin:
        started = background.submit(server.start)
        assert until(lambda: (found := prepare.redis_trouble(env)) and found.loading)
        waiting = background.submit(prepare.wait_for_redis, env)
        assert not wait([waiting], 0.5).done
        admin.config_set("key-load-delay", 0)
        waiting.result()
        started.result()
    assert trouble(server.url) is None


def test_a_wrong_password_is_refused_at_once(server):
    server.admin.config_set("requirepass", "right")
    refused = trouble(server.url.replace("unix://", "unix://:wrong@"))
    assert refused.lasting
    assert "REDIS_URL: Redis refuses the user or the password" in refused.words


def test_a_certificate_nobody_vouches_for_is_named(server, tmp_path):
    with Door(str(tmp_path / "redis.sock"), tls=Authority(tmp_path).server()) as door:
        assert "certificate verify failed" in trouble(f"rediss://127.0.0.1:{door.port}").words


@pytest.mark.e2e
def test_the_start_ends_with_the_one_line(server, tmp_path):
    server.admin.replicaof("127.0.0.1", "1")
    with Gateway(tmp_path / "data", REDIS_URL=server.url) as gateway:
        began = time.monotonic()  # the first process of a run takes its libraries along
        code, said = gateway.ended()
    assert (code, gateway.lines) == (2, [])
    assert said == "lingma-gateway: REDIS_URL: Redis cannot be used: it is a read-only replica. Name the primary.\n"
    assert time.monotonic() - began < 30
