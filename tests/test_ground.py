import redis


def test_the_test_redis_is_a_real_server(redis_server):
    client = redis.Redis.from_url(redis_server)
    assert client.ping()
    client.close()
