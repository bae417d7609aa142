"""Conversation to key: the same conversation gives the same key however an agent sends it again, others do not. Pure.

Agents send the whole history with every request and change it on the way: dates and folders in the system prompt,
`<system-reminder>` blocks that come and go, system messages that move, arguments of calls written anew, a message
split in two. What people, models and tools said stays. So:

- system: what stands before the first user message, without dates, times, billing headers and reminders
- user, tool: the text without reminders; dates count here. Images by their content
- assistant: the text without white space; calls by id and name, because ids are ours and cannot be guessed
- messages of one role in a row are one turn
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from functools import lru_cache
from hashlib import blake2b

from sessions_store import volatile

_WHITE = b" \t\n\r\x0b\x0c"
_LARGEST_REMEMBERED = 1 << 20  # characters of all tools of a request: what is larger is not kept in memory


class Fingerprint:
    """A hash that grows with its conversation.

    `hexdigest()` may be read at any point and feeding may go on after it: read it before the last user message to
    find the session to continue, and after the answer to remember the session for the turn to come.
    """

    __slots__ = ("_calls", "_hash", "_images", "_role", "_texts", "_user_spoke")

    def __init__(self, api_key_id: int, tools: bytes = b"") -> None:
        """`tools` is what `tools_digest` gave, or empty."""
        self._hash = blake2b(b"%d %d:" % (api_key_id, len(tools)), digest_size=24, person=b"lgw-session-2")
        self._hash.update(tools)
        self._role = ""  # of the turn that may go on with the next message
        self._texts: list[str] = []
        self._calls: list[tuple[str, str]] = []
        self._images: list[str] = []
        self._user_spoke = False

    def feed(
        self,
        role: str,
        text: str,
        calls: Iterable[tuple[str, str]] = (),
        call_id: str = "",
        is_error: bool = False,
        images: Sequence[str] = (),
    ) -> Fingerprint:
        """Add one message. `calls` are (id, name) of an assistant's calls, `images` URLs; `call_id` and `is_error`
        are a tool result's. Roles other than system, user, assistant and tool count like user.
        """
        if role == "system":
            if self._user_spoke:
                return self
        elif role != "assistant":
            text = volatile.spoken(text)
            if role == "tool":
                role = f"tool {len(call_id)}:{call_id} {is_error:d}"
            elif not text and not images:
                return self  # nothing but reminders
            self._user_spoke = True
        if role != self._role:
            self._close(role)
        self._texts.append(text)
        if calls:
            self._calls += calls
        if images:
            self._images += images
        return self

    def _close(self, role: str) -> None:
        self._seal(self._hash)
        self._role = role
        self._texts = []
        self._calls = []
        self._images = []

    def _seal(self, digest: blake2b) -> None:
        """Add the turn that is open. Counts and lengths go first, so that no text can imitate a border."""
        if not self._role:
            return
        # A lone surrogate is legal in JSON and must not end a turn.
        data = self._said().encode("utf-8", "surrogatepass")
        if self._role == "assistant" or self._role == "system":
            data = data.translate(None, _WHITE)
            if not data and self._role == "system":
                return
        head = f"{self._role} {len(data)} {len(self._calls)} {len(self._images)}:"
        digest.update(head.encode("utf-8", "surrogatepass"))
        digest.update(data)
        if self._calls or self._images:
            for part in (*(part for call in self._calls for part in call), *self._images):
                data = part.encode("utf-8", "surrogatepass")
                digest.update(b"%d:" % len(data))
                digest.update(data)

    def _said(self) -> str:
        text = self._texts[0] if len(self._texts) == 1 else "\n".join(self._texts)
        return volatile.lasting(text) if self._role == "system" else text

    def copy(self) -> Fingerprint:
        """A second conversation with the same beginning."""
        twin = Fingerprint.__new__(Fingerprint)
        twin._hash = self._hash.copy()
        twin._role = self._role
        twin._texts = self._texts[:]
        twin._calls = self._calls[:]
        twin._images = self._images[:]
        twin._user_spoke = self._user_spoke
        return twin

    def hexdigest(self) -> str:
        """48 hexadecimal digits."""
        digest = self._hash.copy()
        self._seal(digest)
        return digest.hexdigest()


def fingerprint(api_key_id: int, messages: Iterable[tuple[str, str]], tools: bytes = b"") -> str:
    """The key of a whole prefix, given as (role, text) pairs."""
    whole = Fingerprint(api_key_id, tools)
    for role, text in messages:
        whole.feed(role, text)
    return whole.hexdigest()


def tools_digest(tools: tuple[tuple[str | bytes, ...], ...]) -> bytes:
    """The tools of a request, one tuple of texts each (name, description, schema), in any order; empty for none."""
    is_small = sum(len(part) for tool in tools for part in tool) <= _LARGEST_REMEMBERED
    return (_tools_digest if is_small else _tools_digest.__wrapped__)(tools)


@lru_cache(maxsize=64)
def _tools_digest(tools: tuple[tuple[str | bytes, ...], ...]) -> bytes:
    if not tools:
        return b""
    digests = []
    for tool in tools:
        parts = [part if isinstance(part, bytes) else part.encode("utf-8", "surrogatepass") for part in tool]
        sizes = " ".join(str(len(part)) for part in parts)
        digests.append(blake2b(b"".join((sizes.encode(), b":", *parts)), digest_size=16).digest())
    return blake2b(b"".join(sorted(digests)), digest_size=16).digest()
