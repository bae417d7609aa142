"""Services for a pool."""

import pytest

from tests.bridge.lingma.service import Service


@pytest.fixture
async def services():
    async with Service() as first, Service() as second:
        yield first, second
