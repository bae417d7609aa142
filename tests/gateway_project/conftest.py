"""What is collected."""

from tests.trials.postgres import binaries

collect_ignore = [] if binaries() else ["test_postgresql.py"]  # it needs one on the machine
