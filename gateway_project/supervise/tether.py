"""A script that ties a process to its parent's life, then becomes it: `tether.py PARENT_PID program argument…`."""

import ctypes
import os
import signal
import sys

PR_SET_PDEATHSIG = 1


def tie(death_signal: int) -> None:
    """Have the kernel send this process a signal when its parent dies. Linux only; elsewhere nothing happens."""
    if sys.platform == "linux":
        ctypes.CDLL(None).prctl(PR_SET_PDEATHSIG, death_signal)


def main(parent: int, command: list[str]) -> None:
    """Become the command, unless the parent died before the tie held."""
    tie(signal.SIGKILL)
    if os.getppid() == parent:
        os.execvp(command[0], command)  # noqa: S606 - replacing this process is the point


if __name__ == "__main__":
    main(int(sys.argv[1]), sys.argv[2:])
