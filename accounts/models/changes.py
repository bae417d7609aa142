"""Announces changes of keys to every process, and parses the announcements."""

from __future__ import annotations

from collections.abc import Collection

from gateway_project.lib.changes import after_commit
from gateway_project.lib.redis import redis_keys

ANY = b"changed"
MOST = 500  # more than these are announced as `ANY`
NAMED = MOST + 1  # no more digests are read to be announced


def announce(digests: Collection[str] | None = None) -> None:
    """
    Once the transaction is committed, make every KeyRing forget what it has read of these keys, None: of all.

    Naming them spares the others: a ring that has forgotten a key cannot serve it while the database is away. Rings
    that miss the message because Redis is away miss the server too, and trust what they have read for a second at most.
    """
    # Each digest starts a read in each process; forgetting everything starts none.
    if digests is None or len(digests) > MOST:
        after_commit("keys", "PUBLISH", redis_keys.KEYS_CHANGED, ANY)
    elif digests:
        after_commit("keys", "PUBLISH", redis_keys.KEYS_CHANGED, " ".join(digests).encode())


def changed_in(message: bytes) -> list[bytes] | None:
    """The digests a message names; None when it may be any."""
    try:
        return None if message == ANY else [bytes.fromhex(digest) for digest in message.decode().split()]
    except ValueError:
        return None
