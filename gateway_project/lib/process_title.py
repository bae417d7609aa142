"""What `ps` shows of a process: its command line and its environment. A fork has those of the process it is one of."""

import ctypes
import os
import sys
from collections.abc import Sequence
from pathlib import Path

ROOM = "GATEWAY_TITLE_ROOM"
"""A variable that only makes room for more of them."""
SPARE = "." * 1024


def show(command: Sequence[str]) -> None:
    """Show this command, and the environment as it is now. What finds no room is cut. Linux only."""
    if sys.platform != "linux":
        return
    # Behind the last bracket, which ends the program's name; proc(5) counts from the field before the name.
    fields = Path("/proc/self/stat").read_text().rpartition(") ")[2].split()
    arguments, arguments_end, variables, variables_end = map(int, fields[45:49])
    # Set anew: from here on nobody reads them where the kernel had put them, which is written over.
    environment = dict(os.environ)
    os.environ.clear()
    os.environ.update(environment)
    _write(arguments, arguments_end, " ".join(command).encode(errors="surrogateescape"))
    # A last byte that is none tells the kernel that the command line is text up to its first zero.
    ctypes.memset(arguments_end - 1, ord("."), 1)
    pairs = [f"{name}={value}".encode(errors="surrogateescape") for name, value in environment.items()]
    _write(variables, variables_end, b"\0".join(pairs))


def _write(start: int, end: int, text: bytes) -> None:
    ctypes.memset(start, 0, end - start)
    # Two bytes less: the end of the text, and the mark above.
    kept = text[: max(0, end - start - 2)]
    ctypes.memmove(start, kept, len(kept))
