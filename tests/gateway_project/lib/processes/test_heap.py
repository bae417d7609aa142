"""The heap before a fork."""

import subprocess
import sys

import pytest

PROGRAM = """
import ctypes
from gateway_project.lib.processes import heap
library = ctypes.CDLL(None)
library.malloc.restype, library.free.argtypes = ctypes.c_void_p, (ctypes.c_void_p,)
library.mallinfo2.restype = heap._Figures
def holes():
    figures = library.mallinfo2()
    return figures.fordblks - figures.keepcost
blocks = [library.malloc(size) for size in (3_000, 700, 40_000, 2_000) for _ in range(200)]
for block in blocks[::2]:
    library.free(block)
before = holes()
heap.fill_holes()
print(before, holes())
"""


@pytest.mark.skipif(sys.platform != "linux", reason="only glibc tells where holes are")
def test_holes_of_all_sizes_are_filled():
    done = subprocess.run([sys.executable, "-c", PROGRAM], capture_output=True, text=True, timeout=60, check=False)
    if "mallinfo2" in done.stderr:  # another library than glibc
        pytest.skip("the library of C has no mallinfo2")
    before, after = map(int, done.stdout.split())
    assert before > 4_000_000
    assert after < before / 100
