"""Wrong keys that were pasted: whoever does it often has to wait, by address."""

from __future__ import annotations

from typing import Final

from django.conf import settings

from gateway_project.lib.address_share import share_of
from gateway_project.lib.attempts import Attempts
from gateway_project.lib.redis import redis_keys

FREE: Final = 5
"""Wrong pastes without a wait."""
LONGEST_SEC: Final = 60
PASTES: Final = Attempts(redis_keys.PASTES, FREE, LONGEST_SEC, memory_sec=600)


def begin(address: str) -> float:
    """Count a paste; seconds that this address has to wait before it may be tried, 0 for none."""
    return PASTES.begin(settings.REDIS_URL, share_of(address))


def was_right(address: str) -> None:
    """The key was good: nothing is held against the address any more."""
    PASTES.forget(settings.REDIS_URL, share_of(address))
