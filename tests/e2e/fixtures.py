"""What tests of real processes share: a gateway for each worker, the formats, and both ways to read an answer."""

import pytest

from tests.e2e.formats import FORMATS
from tests.e2e.installation import Gateway

__all__ = ["gateway", "stream", "wire"]


@pytest.fixture(scope="session")
def gateway(tmp_path_factory, template):
    """One web process with one instance, for tests that need nothing special."""
    with Gateway(tmp_path_factory.mktemp("gateway"), template) as running:
        yield running
    assert running.left_behind == []


@pytest.fixture(params=FORMATS, ids=str)
def wire(request):
    return request.param


@pytest.fixture(params=[False, True], ids=["plain", "streamed"])
def stream(request):
    return request.param
