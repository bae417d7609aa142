"""The process edge of `make run`: exit 0 after a stop, exit 2 with one line when the gateway cannot start."""

import argparse
import asyncio
import os
import signal
import sys

from gateway_project.env import SettingError, load
from gateway_project.supervise import orphans, programs
from gateway_project.supervise.forks import fork_server
from gateway_project.supervise.supervisor import STOP_SIGNALS, supervise


def open_standard_streams() -> None:
    """Whoever closed one of the three gives us the null device, so that no socket takes its number."""
    for number, name in enumerate(("stdin", "stdout", "stderr")):
        try:
            os.fstat(number)
        except OSError:
            null = os.open(os.devnull, os.O_RDWR)
            # The kernel gives the lowest free number, so it usually is the right one already.
            if null != number:
                os.dup2(null, number)
                os.close(null)
        if getattr(sys, name) is None:
            # Python left the object None when the stream was closed, and `sys.stderr.write` would fail.
            setattr(sys, name, open(number, "w" if number else "r", encoding="utf-8", closefd=False))  # noqa: SIM115


def chosen_programs() -> frozenset[str]:
    """What the command line names. Raise SettingError for a name that is none."""
    parser = argparse.ArgumentParser(
        prog="python -m gateway_project.supervise",
        description="Run the gateway until SIGTERM or Ctrl-C: all of it, or the programs that are named.",
    )
    names = ", ".join(sorted(programs.ALL))
    explained = f"{names}; {programs.PREPARE} brings database and static files up to date and ends"
    parser.add_argument("programs", nargs="*", metavar="PROGRAM", help=explained)
    named = frozenset(parser.parse_args().programs)
    if unknown := named - programs.ALL - {programs.PREPARE}:
        raise SettingError(f"{min(unknown)} is no program of the gateway: choose from {names}, {programs.PREPARE}")
    return named or programs.ALL


def main() -> int:
    """Run until stopped; return the exit code."""
    open_standard_streams()
    try:
        named = chosen_programs()
        env = load()
        # Before the first child: what that leaves behind has to come to us.
        orphans.adopt()
        # They wait until the loop has its handlers: from here on there is something to be stopped.
        mask = signal.pthread_sigmask(signal.SIG_BLOCK, STOP_SIGNALS)
        asyncio.run(supervise(env, fork_server(mask), named))
    except SettingError as exc:
        sys.stderr.write(f"lingma-gateway: {exc}\n")
        return 2
    return 0


if __name__ == "__main__":
    sys.exit(main())
