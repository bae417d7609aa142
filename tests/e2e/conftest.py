"""Gateways that the end-to-end tests share."""

import pytest

from tests.e2e.formats import FORMATS
from tests.e2e.installation import Gateway
from tests.trials.postgres import binaries

collect_ignore = [] if binaries() else ["test_database_away.py"]  # it needs a PostgreSQL on the machine


def pytest_collection_modifyitems(items):
    for item in items:
        if "/tests/e2e/" in str(item.path):
            item.add_marker(pytest.mark.e2e)


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
