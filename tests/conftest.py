"""Fixtures for everybody."""

import pytest
from django.conf import settings

from tests.environment import DATA_DIR, start_redis


@pytest.fixture(scope="session", autouse=True)
def plain_static_files():
    """Pages name their static files as they are; the manifest of hashed names exists in an installation only."""
    settings.STORAGES["staticfiles"]["BACKEND"] = "django.contrib.staticfiles.storage.StaticFilesStorage"


@pytest.fixture(scope="session")
def redis_server():
    """The embedded server that the default settings point at."""
    server = start_redis(DATA_DIR)
    yield f"unix://{DATA_DIR / 'redis.sock'}"
    server.terminate()
    server.wait()
