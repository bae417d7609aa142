"""`python -m tests.on_postgresql PATHS …`: pytest on a PostgreSQL of its own, where the machine has one."""

import os
import subprocess
import sys

from tests.trials.postgres import Postgres, binaries


def main():
    if not binaries():
        print("There is no PostgreSQL on this machine: its tests are skipped.")
        return 0
    with Postgres() as server:
        environment = os.environ | {"LGW_TEST_DATABASE_URL": server.url}
        return subprocess.run([sys.executable, "-m", "pytest", *sys.argv[1:]], env=environment, check=False).returncode


if __name__ == "__main__":
    sys.exit(main())
