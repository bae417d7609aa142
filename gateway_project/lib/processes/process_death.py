"""Become another program that dies with its parent. Run as a script, with `-I -S` for a quick start:
`python -I -S process_death.py SIGNAL PARENT_PID PROGRAM ARGUMENT…`.

An instance must not outlive the gateway, not even a kill -9 of it. The parent-death signal survives the exec; asking
for it here instead of between fork and exec keeps Python code out of a forked child.
"""

import os
import sys

PR_SET_PDEATHSIG = 1


def get_signal(number: int, parent: int) -> bool:
    """Ask for this signal when our parent dies; False when that has happened already.

    Elsewhere than on Linux there is no such signal.
    """
    if sys.platform == "linux":
        import ctypes  # here, for the quick start

        ctypes.CDLL(None).prctl(PR_SET_PDEATHSIG, number)
    # After prctl, not before: a parent that dies in between would go unnoticed.
    return os.getppid() == parent


def main(number: int, parent: int, command: list[str]) -> None:
    """Ask for the signal, then exec."""
    if not get_signal(number, parent):
        sys.exit(1)
    os.execvp(command[0], command)  # noqa: S606  the program is the operator's


if __name__ == "__main__":
    main(int(sys.argv[1]), int(sys.argv[2]), sys.argv[3:])
