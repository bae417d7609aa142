"""The heap of a process that is about to be forked."""

import ctypes
from contextlib import suppress

LARGEST = 65_536
SMALLEST = 16
HEADER = 8
"""Bytes in front of each block."""
FEW = 1_024
"""Bytes; smaller blocks are asked for by their exact sizes."""


class _Figures(ctypes.Structure):
    """As in malloc.h."""

    _fields_ = tuple(
        (name, ctypes.c_size_t)
        for name in (
            "arena", "ordblks", "smblks", "hblks", "hblkhd", "usmblks", "fsmblks", "uordblks", "fordblks", "keepcost",
        )
    )  # fmt: skip


def fill_holes() -> None:
    """Take all that is free between what is in use, so that a fork puts what it allocates on pages of its own.

    The free blocks, less than 1 MB, lie on thousands of pages. Each that a fork uses would have it copy a page that it
    could go on sharing. Only glibc tells where they end; with another library this does nothing.
    """
    library = ctypes.CDLL(None)
    with suppress(AttributeError):  # the library has no such function
        figures, break_at = library.mallinfo2, library.sbrk
        allocate, free = library.malloc, library.free
        figures.restype = _Figures
        break_at.restype = allocate.restype = ctypes.c_void_p
        allocate.argtypes, free.argtypes = (ctypes.c_size_t,), (ctypes.c_void_p,)
        # From here on nothing is in use: what is taken from there was no hole.
        end = break_at(0) - figures().keepcost
        for size in (*range(LARGEST, FEW, -FEW), *range(FEW, SMALLEST, -16)):
            block = allocate(size - HEADER)
            while block and block < end:
                block = allocate(size - HEADER)
            free(block)
