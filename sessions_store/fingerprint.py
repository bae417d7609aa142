"""Fingerprints of conversations, under which sessions are stored and found. Pure.

There are two kinds, and a session is stored under one key: of one of them, or of a loose one (`with_changing`) up to
the last call that a strict one goes on from.

`StrictFingerprint` counts all that reaches the model, to the letter. A client with the same fingerprint has sent all of
it, so it needs no other proof that the conversation is its own.

`LooseFingerprint` is for clients that have proved that the conversation is theirs. Agents send the whole history with
every request and change it on the way: the date in the system prompt, `<system-reminder>` blocks that come and go,
system messages that move, arguments of calls written anew, a message split in two. What people, models and
tools wrote stays. So:

- system: what stands before the first user message, without the present date, billing headers and reminders
- user, tool: the text without reminders. Images by their address
- assistant: the text without white space; calls by id and name, because ids are ours and cannot be guessed
- messages of one role in a row are one turn

What is left out is listed in `changing`; pieces that a session was not sent yet are sent with its next turn. A later
system message that was sent cannot be taken back, so `late` lists which ones there are.
"""

from __future__ import annotations

from binascii import b2a_base64
from collections.abc import Iterable, Sequence
from hashlib import blake2b
from typing import NamedTuple

from sessions_store import normalize

MOST_CHANGING = 512
"""Pieces that change in a conversation; one with more is not kept."""
DIGEST_LENGTH = 8
"""Characters of the digest of one of them."""

_STRICT = blake2b(digest_size=24, person=b"lgw-session-s")
"""To begin with; a copy costs a third of a new one."""

Call = tuple[str, str, str]
"""Id, name and arguments of an assistant's call."""


class StrictFingerprint:
    """A hash of everything that is sent to a session: the messages, and what else stands in its prompts (`extras`).

    `hexdigest()` may be read at any point and feeding may go on after it.
    """

    __slots__ = ("_hash",)

    def __init__(self, api_key_id: int, ids: Iterable[str] = (), extras: bytes = b"") -> None:
        """`ids` are those by which the client calls itself and its conversation."""
        # The key is part of it: no session ever continues the conversation of another key.
        self._hash = _STRICT.copy()
        self._hash.update(b"%d %d:%b%b" % (api_key_id, len(extras), extras, b"".join(map(_part, ids))))

    def feed(
        self,
        role: str,
        text: str,
        calls: Iterable[Call] = (),
        call_id: str = "",
        is_error: bool = False,
        images: Sequence[str] = (),
    ) -> StrictFingerprint:
        """Add one message. White space around an assistant's text is lost on the way to clients and back."""
        data = (text.strip() if role == "assistant" else text).encode("utf-8", "surrogatepass")
        if not (calls or images or call_id or is_error):  # as most are
            # The same bytes as below with nothing but a text, without making the lists.
            self._hash.update(b"%b 0 0 0:%d:%b" % (role.encode(), len(data), data))
            return self
        calls = list(calls)
        parts = [part.encode("utf-8", "surrogatepass") for call in calls for part in call]
        parts += [part.encode("utf-8", "surrogatepass") for part in (call_id, *images)]
        # Counts and lengths go first, so that no text can imitate a border.
        sizes = " ".join(map(str, map(len, parts)))
        head = f"{role} {is_error:d} {len(calls)} {len(images)}:{len(data)} {sizes}:"
        self._hash.update(b"".join((head.encode(), data, *parts)))
        return self

    def hexdigest(self) -> str:
        """48 hexadecimal digits."""
        return self._hash.hexdigest()


class Changing(NamedTuple):
    """A piece that agents change. `role` and `call_id` are those of its message."""

    role: str
    text: str
    call_id: str = ""

    @property
    def digest(self) -> str:
        """Short, for it is only compared with those of its own conversation."""
        return digest_of(f"{self.role} {self.text}")


class LooseFingerprint:
    """A hash of the conversation without what agents change; `changing` lists what was left out.

    `hexdigest()` may be read at any point and feeding may go on after it.
    """

    __slots__ = ("_calls", "_hash", "_images", "_late", "_role", "_texts", "_user_seen", "changing")

    def __init__(self, api_key_id: int, ids: Iterable[str] = ()) -> None:
        """`ids` are those by which the client calls itself and its conversation."""
        self._hash = blake2b(b"%d:" % api_key_id, digest_size=24, person=b"lgw-session-l")
        self._hash.update(b"".join(map(_part, ids)))
        self.changing: list[Changing] = []
        self._late: list[str] = []  # system texts that came after the first user message
        self._role = ""  # of the turn that may go on with the next message
        self._texts: list[str] = []
        self._calls: list[Call] = []
        self._images: list[str] = []
        self._user_seen = False

    def feed(
        self,
        role: str,
        text: str,
        calls: Iterable[Call] = (),
        call_id: str = "",
        is_error: bool = False,
        images: Sequence[str] = (),
    ) -> LooseFingerprint:
        """Add one message. Roles other than system, user, assistant and tool count like user."""
        if role == "system":
            text = self._stable_system_text(text)
            # A message that holds only what changes: the turn before and the one after it stay as if it was not there.
            if not text.strip():
                return self
        elif role != "assistant":
            text = self._stable_text(role, text, call_id)
            if role == "tool":
                role = f"tool {len(call_id)}:{call_id} {is_error:d}"
            elif not images and not text.strip():
                return self  # nothing but reminders
            # From here on a system message is a later one, which may move between requests.
            self._user_seen = True
        if role != self._role:
            self._start_turn(role)
        self._texts.append(text)
        if calls:
            self._calls += calls
        if images:
            self._images += images
        return self

    def _stable_system_text(self, text: str) -> str:
        """The part of a system message that counts: none of one that comes later."""
        # What stands late is moved and renewed by agents: it is no part of the hash, and sent along when it is new.
        if self._user_seen:
            if text := text.strip():
                self.changing.append(Changing("system", text))
                self._late.append(text)
            return ""
        stable, changing = normalize.stable_system_text(text)
        self.changing += [Changing("system", piece) for piece in changing]
        return stable

    def _stable_text(self, role: str, text: str, call_id: str) -> str:
        stable, changing = normalize.strip_reminders(text)
        if changing:
            self.changing += [Changing(role, piece, call_id) for piece in changing]
        return stable

    def _start_turn(self, role: str) -> None:
        self._add_turn(self._hash)
        self._role = role
        self._texts = []
        self._calls = []
        self._images = []

    def _add_turn(self, digest: blake2b) -> None:
        """Add the turn that is open. Counts and lengths go first, so that no text can imitate a border."""
        if not self._role:
            return
        head = (
            f"{self._role} {len(self._calls)} {len(self._images)}:".encode("utf-8", "surrogatepass") + self._text_part()
        )
        if self._calls or self._images:
            # Of a call only id and name: agents write the arguments anew, with other blanks or another order.
            head += b"".join(map(_part, (*(part for call in self._calls for part in call[:2]), *self._images)))
        digest.update(head)

    def _text_part(self) -> bytes:
        texts = self._texts
        if self._role == "assistant":
            # Without any white space: clients trim and wrap what the model wrote.
            return _part("".join("".join(texts).split()))
        if self._role == "system":
            return _part("\n".join(texts))
        # An empty text beside others is one more message, and no white space around them.
        return _part(texts[0].strip() if len(texts) == 1 else "\n".join(piece.strip() for piece in texts))

    def hexdigest(self) -> str:
        """48 hexadecimal digits."""
        # A copy: the turn that is open may still grow, and must not be sealed for good.
        digest = self._hash.copy()
        self._add_turn(digest)
        return digest.hexdigest()

    def with_changing(self) -> str:
        """48 hexadecimal digits that count what changes too, each piece once and in any order."""
        digest = self._hash.copy()
        self._add_turn(digest)
        # Sorted and without doubles: agents move these pieces and repeat them.
        for role, text in sorted({(piece.role, piece.text) for piece in self.changing}):
            digest.update(_part(role) + _part(text))
        return digest.hexdigest()

    def changing_digests(self) -> str | None:
        """The digests of `changing`, one behind the other, for `unsent` of a later turn; None if there are too many."""
        digests = {piece.digest for piece in self.changing}
        return "".join(sorted(digests)) if len(digests) <= MOST_CHANGING else None

    def unsent(self, sent: str) -> list[Changing]:
        """The pieces of `changing` that a session was not sent yet, each once. `sent`: its `changing_digests()`."""
        if not self.changing:
            return []
        already_sent = set(split_digests(sent))
        new = {piece.digest: piece for piece in self.changing}
        return [piece for digest, piece in new.items() if digest not in already_sent]

    def late(self) -> str:
        """The digests of the later system messages, without the present date and reminders."""
        return "".join(sorted(self._late_digests())) if self._late else ""

    def withdrawn(self, late: str) -> bool:
        """Whether a session was sent a later system message that is gone by now: there it would stay in force."""
        return bool(late) and not self._late_digests().issuperset(split_digests(late))

    def _late_digests(self) -> set[str]:
        lasting = (normalize.stable_system_text(text)[0].strip() for text in self._late)
        return {digest_of(text) for text in lasting if text}


def digest_of(text: str) -> str:
    """A short one, to be compared with those of the same conversation."""
    # Lone surrogates are legal in JSON; plain encoding would raise and end the turn.
    data = text.encode("utf-8", "surrogatepass")
    return b2a_base64(blake2b(data, digest_size=DIGEST_LENGTH * 3 // 4).digest(), newline=False).decode()


def split_digests(digests: str) -> list[str]:
    """The digests that stand there one behind the other."""
    return [digests[at : at + DIGEST_LENGTH] for at in range(0, len(digests), DIGEST_LENGTH)]


def _part(text: str) -> bytes:
    """With its length, so that it cannot be shifted into the next."""
    # A lone surrogate is legal in JSON and must not end a turn.
    data = text.encode("utf-8", "surrogatepass")
    return b"%d:%b" % (len(data), data)


def tools_digest(tools: tuple[tuple[str | bytes, ...], ...]) -> bytes:
    """The tools of a request, one tuple of texts each (name, description, schema), in any order; empty for none."""
    if not tools:
        return b""
    digests = []
    for tool in tools:
        parts = [part if isinstance(part, bytes) else part.encode("utf-8", "surrogatepass") for part in tool]
        sizes = " ".join(str(len(part)) for part in parts)
        digests.append(blake2b(b"".join((sizes.encode(), b":", *parts)), digest_size=16).digest())
    # Sorted: clients list the same tools in another order.
    return blake2b(b"".join(sorted(digests)), digest_size=16).digest()
