import asyncio

import pytest
import redis
from kombu import Connection

from gateway_project.env import Environment, SettingError, load
from gateway_project.lib.redis import redis_url
from gateway_project.lib.redis.redis_client import connect
from gateway_project.lib.redis.redis_link import RedisLink
from tests.doors import Authority, Door


def ping_over_link(url):
    async def run():
        link = RedisLink(url, timeout=10)
        try:
            return await link.execute("CLIENT", "INFO")
        finally:
            await link.close()

    return asyncio.run(run())


def ping_over_broker(url):
    with Connection(redis_url.broker_url(url)) as broker:
        return broker.channel().client.client_info()


@pytest.fixture
def authority(tmp_path):
    return Authority(tmp_path)


@pytest.fixture
def tls_door(own_redis, authority):
    with Door(str(own_redis.directory / "redis.sock"), tls=authority.server()) as door:
        yield door


@pytest.mark.parametrize(
    "query", ["?ssl_ca_certs={ca}", "?ssl_cert_reqs=none", "3?ssl_ca_certs={ca}&ssl_check_hostname=false"]
)
def test_own_authority_is_honoured_by_all_clients(tls_door, authority, query):
    url = f"rediss://127.0.0.1:{tls_door.port}/{query.format(ca=authority.ca_file)}"
    database = 3 if query.startswith("3") else 0
    assert f" db={database} ".encode() in ping_over_link(url)
    with connect(url, 10) as client:
        assert client.client_info()["db"] == database
    assert ping_over_broker(url)["db"] == database


def test_unknown_authority_is_refused_by_all_clients(tls_door):
    url = f"rediss://127.0.0.1:{tls_door.port}"
    with pytest.raises(redis.RedisError), connect(url, 10) as client:
        client.ping()
    with pytest.raises(Exception, match="certificate"):
        ping_over_link(url)


def test_a_certificate_of_the_client_is_shown(own_redis, authority):
    tls = authority.server(of_clients=True)
    with Door(str(own_redis.directory / "redis.sock"), tls=tls) as door:
        url = f"rediss://127.0.0.1:{door.port}/1?ssl_ca_certs={authority.ca_file}&ssl_certfile={authority.certificate}"
        assert b" db=1 " in ping_over_link(url)
        assert ping_over_broker(url)["db"] == 1


def test_socket_options_are_honoured_by_all_clients(own_redis):
    with redis.Redis.from_url(own_redis.url) as admin:
        admin.execute_command("ACL", "SETUSER", "al.ice", "on", ">hu/sh@", "allkeys", "allchannels", "allcommands")
    path = own_redis.directory / "redis.sock"
    for url in (f"unix://al%2Eice:hu%2Fsh%40@{path}?db=3", f"unix://{path}?username=al.ice&password=hu/sh%40&db=3"):
        info = ping_over_link(url)
        assert b" db=3 " in info
        assert b" user=al.ice " in info
        with connect(url) as client:
            assert client.client_info()["db"] == 3
        assert ping_over_broker(url)["db"] == 3


@pytest.mark.parametrize(
    ("url", "said"),
    [
        ("redis://host?socket_timeout=60", "the option socket_timeout is not taken"),
        ("redis://host?ssl_ca_certs=/ca.pem", "the option ssl_ca_certs needs rediss://"),
        ("rediss://host?ssl_cert_reqs=maybe", "ssl_cert_reqs must be one of"),
        ("rediss://host?ssl_check_hostname=often", "ssl_check_hostname must be"),
        ("redis://host/cache", "cache is not the number of a database"),
    ],
)
def test_options_not_honoured_by_all_are_refused(monkeypatch, url, said):
    monkeypatch.setenv("REDIS_URL", url)
    load.cache_clear()
    with pytest.raises(SettingError, match=f"REDIS_URL: {said}"):
        load()
    load.cache_clear()


@pytest.mark.parametrize(
    "url",
    ["redis://", "redis://h:1/2", "redis://:p@[::1]/", "redis://u:p%40@h", "unix:///a/b%25c?db=4", "rediss://h/1?db=2"],
)
def test_url_means_the_same_to_redis_py(url):
    target, theirs = redis_url.read(url), redis.connection.parse_url(url)
    ours = {
        "host": target.host, "port": target.port, "path": target.path, "db": target.database,
        "username": target.username, "password": target.password,
    }  # fmt: skip
    plain = {"host": "localhost", "port": 6379, "path": "", "db": 0, "username": "", "password": ""}
    assert ours == plain | {name: value for name, value in theirs.items() if name in plain}


def test_the_broker_is_the_same_server():
    for url in ("redis://u:p%2F@[::1]:7/2", "redis://h", "rediss://h/1?ssl_cert_reqs=none"):
        broker = Connection(Environment(_env_file=None, redis_url=url).celery_broker_url)
        target = redis_url.read(url)
        assert (broker.hostname, broker.port, int(broker.virtual_host)) == (target.host, target.port, target.database)
        assert (broker.userid or "", broker.password or "") == (target.username, target.password)
