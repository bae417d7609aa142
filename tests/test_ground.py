import pytest
import redis

from tests.trials.machines import namespaces


def test_the_test_redis_is_a_real_server(redis_server):
    client = redis.Redis.from_url(redis_server)
    assert client.ping()
    client.close()


def test_networks_that_cannot_be_made_are_told(monkeypatch, tmp_path):
    monkeypatch.setenv("PATH", str(tmp_path))
    monkeypatch.setattr("tests.trials.machines._remove", lambda names: None)
    with pytest.warns(UserWarning, match="two machines share a network"), namespaces(None) as names:
        assert names == []
