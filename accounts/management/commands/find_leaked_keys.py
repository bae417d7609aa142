"""`find_leaked_keys < FILE` prints the keys of this gateway that stand in a text."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from typing import Any, BinaryIO

from django.core.management.base import BaseCommand
from django.utils import timezone

from accounts.keys.leaks import BLOCK, LeakFinder
from accounts.models import ApiKey


class Command(BaseCommand):
    """Print one line for each key of this gateway that stands in the text on stdin, whatever its state."""

    help = __doc__

    def handle(self, *args: Any, **options: Any) -> None:
        found: set[int] = set()
        for leak in LeakFinder().find(blocks(sys.stdin.buffer)):
            if leak.key_id in found:
                continue
            # Where two secrets of a key stand in the text, the first says enough.
            found.add(leak.key_id)
            key = ApiKey.objects.select_related("team").filter(pk=leak.key_id).first()
            if key is not None:
                self.stdout.write(f"{described(key, is_previous=leak.is_previous)}, line {leak.line}")
                self.stdout.flush()
        self.stderr.write(f"{len(found)} keys found")


def blocks(stream: BinaryIO) -> Iterator[bytes]:
    # `read1` gives what there is: a text that comes slowly is searched as it comes.
    read: Any = getattr(stream, "read1", stream.read)
    while block := read(BLOCK):
        yield block


def described(key: ApiKey, *, is_previous: bool) -> str:
    """Which key, and what it still opens."""
    now = timezone.now()
    state = str(key.state(now).value)
    if is_previous:
        works = key.previous_until is not None and key.previous_until > now
        state += ", an older secret" + (f" that works until {key.previous_until:%Y-%m-%d %H:%M %Z}" if works else "")
    team = f", team {key.team}" if key.team else ""
    return f"{key}{team}: {state}"
