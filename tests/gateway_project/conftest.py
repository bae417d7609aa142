"""What is collected."""

from tests.trials.postgres import binaries

collect_ignore = [] if binaries() else ["test_postgresql.py", "test_programs_apart.py"]  # they need one on the machine
