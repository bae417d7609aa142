"""Random bytes from the system, fetched for many uses at once: a system call each would cost more than its use."""

from __future__ import annotations

import os
from collections.abc import Callable
from itertools import chain
from struct import Struct

BLOCK = 256


def random_bytes(size: int) -> Callable[[], bytes]:
    """What returns `size` fresh bytes with each call, unguessable as `os.urandom` makes them."""
    cut = Struct(f"{size}s" * BLOCK).unpack
    blocks = iter(lambda: cut(os.urandom(size * BLOCK)), ())  # () never comes, so it never ends
    # Called several times in each turn, and all of it is C until a block is used up.
    return chain.from_iterable(blocks).__next__
