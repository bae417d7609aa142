"""Fixtures for everybody."""

import pytest

from tests.environment import DATA_DIR, start_redis


@pytest.fixture(scope="session")
def redis_server():
    """The embedded server that the default settings point at."""
    server = start_redis(DATA_DIR)
    yield f"unix://{DATA_DIR / 'redis.sock'}"
    server.terminate()
    server.wait()
