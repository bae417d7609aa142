"""Which version of the service an instance shall be."""

from __future__ import annotations

import re

import msgspec


class WantedVersion(msgspec.Struct, frozen=True):
    """A version that was installed."""

    version: str
    executable: str
    """Its path below the directory of the versions."""
    sha256: str
    """Of the executable."""


def numbers(version: str) -> tuple[int, ...]:
    """A version as it is compared: `2.11.1` is above `v2.9.0`."""
    return tuple(int(part) for part in re.findall(r"\d+", version))
