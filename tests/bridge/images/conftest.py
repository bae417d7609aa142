"""A web on this machine."""

import pytest

from tests.bridge.images.web import HERE, Web


@pytest.fixture
async def web():
    web = Web()
    web.hosts = {"pictures.example": [HERE], "other.example": [HERE]}
    await web.serve()
    yield web
    await web.close()
