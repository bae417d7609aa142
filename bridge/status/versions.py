"""Which version of the service an instance shall be."""

from __future__ import annotations

import msgspec


class WantedVersion(msgspec.Struct, frozen=True):
    """A version that was installed."""

    version: str
    executable: str
    """Its path below the directory of the versions."""
    sha256: str
    """Of the executable."""
