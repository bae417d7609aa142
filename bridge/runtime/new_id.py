"""Ids of what a process does."""

from __future__ import annotations

from gateway_project.lib.random_bytes import random_bytes

_random = random_bytes(16)


def new_id() -> str:
    """32 hexadecimal digits, as unique as a UUID."""
    return _random().hex()
