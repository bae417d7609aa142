"""Ids of what a process does."""

from __future__ import annotations

from gateway_project.lib.secrets.random_bytes import random_bytes

_random = random_bytes(16)
_rest = random_bytes(12)


def new_id() -> str:
    """32 hexadecimal digits, as unique as a UUID."""
    return _random().hex()


def request_id(at: float) -> str:
    """The same of a request that came at this time, unix seconds: the first eight digits are the second.

    So rows are filed nearly in the order of their unique index: at its end, and not each on another page of it.
    """
    # The rest is as hard to guess as ever, and enough for a trace of the same id.
    return f"{int(at):08x}{_rest().hex()}"
