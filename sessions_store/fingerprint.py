"""Conversation to key: equal prefixes give equal fingerprints, different ones different ones. Pure."""

from __future__ import annotations

from collections.abc import Iterable
from hashlib import blake2b


class Fingerprint:
    """A hash that grows with its conversation.

    `hexdigest()` may be read at any point and feeding may go on after it: read it before the last user message to
    find the session to continue, and after the answer to remember the session for the turn to come.
    """

    __slots__ = ("_hash",)

    def __init__(self, api_key_id: int, tools: bytes = b"") -> None:
        self._hash = blake2b(b"%d %d:" % (api_key_id, len(tools)), digest_size=24, person=b"lgw-session-1")
        self._hash.update(tools)

    def feed(self, role: str, text: str) -> Fingerprint:
        """Add one message. Line ends and the white space around a text do not count: clients change them."""
        if "\r" in text:
            text = text.replace("\r\n", "\n")
        # A lone surrogate is legal in JSON and must not end a turn.
        data = text.strip().encode("utf-8", "surrogatepass")
        # Lengths go first, so no text can imitate the border between two messages.
        self._hash.update(b"%s %d:" % (role.encode(), len(data)))
        self._hash.update(data)
        return self

    def copy(self) -> Fingerprint:
        """A second conversation with the same beginning."""
        twin = Fingerprint.__new__(Fingerprint)
        twin._hash = self._hash.copy()
        return twin

    def hexdigest(self) -> str:
        """48 hexadecimal digits."""
        return self._hash.hexdigest()


def fingerprint(api_key_id: int, messages: Iterable[tuple[str, str]], tools: bytes = b"") -> str:
    """The key of a whole prefix, given as (role, text) pairs. Roles are words without a space."""
    whole = Fingerprint(api_key_id, tools)
    for role, text in messages:
        whole.feed(role, text)
    return whole.hexdigest()
