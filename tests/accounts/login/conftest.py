import pytest
import redis

from gateway_project.lib import attempts


@pytest.fixture(autouse=True)
def nothing_tried(redis_server, db):
    """Wrong tries of one test make none of another wait."""
    with redis.Redis.from_url(redis_server) as client:
        client.flushdb()
    attempts._alone.clear()
