"""How a web process tells the supervisor that it serves: one byte on a pipe, whose descriptor a variable names."""

import os
from contextlib import suppress

READY_FD = "GATEWAY_READY_FD"


def report_ready() -> None:
    """Tell the supervisor, if there is one."""
    if descriptor := os.environ.pop(READY_FD, ""):
        with suppress(OSError):
            os.write(int(descriptor), b"1")
            os.close(int(descriptor))
