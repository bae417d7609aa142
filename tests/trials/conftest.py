"""What the trials share with other tests of real processes."""

from tests.e2e.fixtures import gateway, mortal, stream, wire
from tests.trials.postgres import binaries

__all__ = ["gateway", "mortal", "stream", "wire"]
# They need a PostgreSQL on the machine.
collect_ignore = [] if binaries() else ["test_database_away.py", "test_full_stack.py", "test_programs_apart.py"]
