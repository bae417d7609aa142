"""Become another program that dies with its parent. Run as a script, with `-I -S` for a quick start:
`python -I -S process_death.py SIGNAL PARENT_PID PROGRAM ARGUMENT…`.

An instance must not outlive the gateway, not even a kill -9 of it. The parent-death signal survives the exec; asking
for it here instead of between fork and exec keeps Python code out of a forked child.
"""

import os
import sys

PR_SET_PDEATHSIG = 1


def main(signal_number: int, parent: int, command: list[str]) -> None:
    """Ask for the signal, then exec. Elsewhere than on Linux there is no such signal."""
    if sys.platform == "linux":
        import ctypes

        ctypes.CDLL(None).prctl(PR_SET_PDEATHSIG, signal_number)
    # After prctl, not before: a parent that dies in between would go unnoticed.
    if os.getppid() != parent:  # it died before the signal was requested
        sys.exit(1)
    os.execvp(command[0], command)  # noqa: S606  the program is the operator's


if __name__ == "__main__":
    main(int(sys.argv[1]), int(sys.argv[2]), sys.argv[3:])
