import time

import pytest
import redis

from gateway_project.lib import degraded
from gateway_project.lib.redis.redis_client import connect


def wait_for(url):
    began = time.monotonic()
    with pytest.raises(redis.TimeoutError), connect(url) as client:
        client.ping()
    return time.monotonic() - began


def test_frozen_redis_costs_one_second_once(own_redis):
    own_redis.freeze()
    first = wait_for(own_redis.url)
    degraded.begin("redis", "no answer")
    assert min(wait_for(own_redis.url) for _ in range(3)) < first  # a pause of this process may fall into one of them
    own_redis.thaw()


def test_connection_asks_nothing_of_its_own(redis_server):
    with connect(redis_server) as client:
        before = client.info("commandstats").get("cmdstat_client|setinfo", {"calls": 0})["calls"]
        with connect(redis_server) as other:
            other.ping()
        assert client.info("commandstats").get("cmdstat_client|setinfo", {"calls": 0})["calls"] == before
        assert client.client_info()["lib-name"] == ""


def test_absent_redis_is_tried_once(tmp_path):
    began = time.monotonic()
    with pytest.raises(redis.ConnectionError), connect("redis://127.0.0.1:1") as client:
        client.ping()
    assert time.monotonic() - began < 5
