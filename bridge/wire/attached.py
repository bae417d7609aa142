"""What comes beside a message's text: pictures, which are uploaded, and what can only be named in a warning."""

from __future__ import annotations

from collections.abc import Iterable

from bridge.chat.request import Message

MOST_NAMED = 8
LONGEST_NAMED = 80


class Attached:
    """Collects what one message brings."""

    __slots__ = ("dropped", "images")

    def __init__(self) -> None:
        self.images: list[str] = []
        """URLs, in the order in which `[image]` stands for them in the text."""
        self.dropped: list[str] = []
        """What is not passed on, in words."""

    def drop(self, what: str, name: str = "") -> None:
        """Note what is not passed on; `name` is the client's word for it."""
        self.dropped.append(f"{what} {_printable(name)}" if name else what)

    def add(self, other: Attached) -> None:
        self.images += other.images
        self.dropped += other.dropped


def warning_of(messages: Iterable[Message]) -> str:
    """A warning that names all that is not passed on, in ASCII and within a bound; "" if there is nothing."""
    # `dropped` is empty for nearly every message: the test spares a loop on each.
    dropped = [what for message in messages if message.dropped for what in message.dropped]
    if not dropped:
        return ""
    # A dict keeps the order in which the client sent them.
    counted = dict.fromkeys(dropped, 0)
    for what in dropped:
        counted[what] += 1
    named = [what if times == 1 else f"{what} ({times} times)" for what, times in list(counted.items())[:MOST_NAMED]]
    if len(counted) > MOST_NAMED:
        named.append(f"{len(counted) - MOST_NAMED} more")
    return f"not passed on, as only text and pictures are: {', '.join(named)}"


def warning_of_tools(left_out: Iterable[str]) -> str:
    """A warning that names the types of tools that were left out; "" if there are none."""
    kinds = list(dict.fromkeys(left_out))
    if not kinds:
        return ""
    return f"tools left out, as only their vendor's models know them without a schema: {', '.join(kinds[:MOST_NAMED])}"


def _printable(name: str) -> str:
    # Cut before `ascii`, which may make ten characters out of one.
    cut = name if len(name) <= LONGEST_NAMED else name[: LONGEST_NAMED - 3] + "..."
    return ascii(cut)
