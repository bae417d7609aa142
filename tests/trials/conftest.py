"""What the trials share with other tests of real processes."""

from tests.e2e.fixtures import gateway, stream, wire
from tests.trials.postgres import binaries

__all__ = ["gateway", "stream", "wire"]
collect_ignore = [] if binaries() else ["test_database_away.py"]  # it needs a PostgreSQL on the machine
