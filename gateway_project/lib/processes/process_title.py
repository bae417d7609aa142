"""What `ps` shows of a process: its command line and its variables. A fork has those of whom it was forked from."""

import ctypes
import os
import sys
from collections.abc import Sequence
from pathlib import Path

PR_SET_MM = 35
PR_SET_MM_MAP = 14
PR_SET_MM_MAP_SIZE = 15


class _Map(ctypes.Structure):
    """`prctl_mm_map` of Linux: where parts of a process lie."""

    _fields_ = [
        *((name, ctypes.c_uint64) for name in ("start_code", "end_code", "start_data", "end_data", "start_brk", "brk",
          "start_stack", "arg_start", "arg_end", "env_start", "env_end", "auxv")),
        ("auxv_size", ctypes.c_uint32),
        ("exe_fd", ctypes.c_uint32),
    ]  # fmt: skip


_shown: list[object] = []
"""What is shown now: the kernel reads it where it lies."""


def can_show() -> bool:
    """Whether the kernel lets a process say where its command line is."""
    size = ctypes.c_uint32(0)
    return (
        sys.platform == "linux"
        and ctypes.CDLL(None).prctl(PR_SET_MM, PR_SET_MM_MAP_SIZE, ctypes.byref(size), 0, 0) == 0
        and size.value == ctypes.sizeof(_Map)
    )


def show(command: Sequence[str]) -> None:
    """Show this command, and the variables as they are now."""
    arguments = b"".join(os.fsencode(word) + b"\0" for word in command)
    variables = b"".join(name + b"=" + value + b"\0" for name, value in os.environb.items())
    text = ctypes.create_string_buffer(arguments + variables)
    start = ctypes.addressof(text)
    middle, end = start + len(arguments), start + len(arguments) + len(variables)
    libc = ctypes.CDLL(None)
    libc.sbrk.restype = ctypes.c_void_p
    # Behind the last bracket, which ends the program's name. proc(5) counts from the pid, two fields before.
    fields = ["", "", "", *Path("/proc/self/stat").read_text().rpartition(") ")[2].split()]
    code, code_end, stack, data, data_end, heap = (int(fields[number]) for number in (26, 27, 28, 45, 46, 47))
    there = _Map(code, code_end, data, data_end, heap, libc.sbrk(0), stack, start, middle, middle, end, 0, 0, 2**32 - 1)
    if libc.prctl(PR_SET_MM, PR_SET_MM_MAP, ctypes.byref(there), ctypes.sizeof(there), 0) == 0:
        _shown[:] = [text]
