"""What is collected, and a PostgreSQL for those that need one."""

import pytest

from tests.trials.postgres import Postgres, binaries

collect_ignore = [] if binaries() else ["test_postgresql.py"]  # it needs one on the machine


@pytest.fixture(scope="module")
def postgres():
    if binaries() is None:
        pytest.skip("PostgreSQL is not installed")
    with Postgres() as server:
        yield server
