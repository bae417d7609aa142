"""`find_leaked_keys < FILE` prints the keys of this gateway that stand in a text."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from typing import Any, BinaryIO

from django.core.management.base import CommandParser
from django.utils import timezone

from accounts.audit.commands import RecordedCommand
from accounts.keys import services
from accounts.keys.leaks import BLOCK, Leak, LeakFinder
from accounts.models import ApiKey
from gateway_project.lib.counted import counted


class Command(RecordedCommand):
    """Print one line for each key of this gateway that stands in the text on stdin, whatever its state."""

    help = __doc__

    def add_arguments(self, parser: CommandParser) -> None:
        parser.add_argument(
            "--quarantine", action="store_true", help="refuse those keys whose secret still works, until an operator"
            " resumes them",
        )  # fmt: skip

    def handle(self, *args: Any, **options: Any) -> None:
        found: set[int] = set()
        stopped = 0
        for leak in LeakFinder().find(blocks(sys.stdin.buffer)):
            key = ApiKey.objects.select_related("team").filter(pk=leak.key_id).first()
            if key is None:
                continue
            line = f"{described(key, is_previous=leak.is_previous)}, line {leak.line}"
            if options["quarantine"] and stop(key, leak):
                stopped += 1
                line += ", now in quarantine"
            # Where two secrets of a key stand in the text, the first says enough.
            elif leak.key_id in found:
                continue
            found.add(leak.key_id)
            self.stdout.write(line)
            # At once, as the text may be a log that goes on.
            self.stdout.flush()
        keys = counted(len(found), "key")
        self.stderr.write(f"{keys} found" + (f", {stopped} put in quarantine" if stopped else ""))


def stop(key: ApiKey, leak: Leak) -> bool:
    """Put the key in quarantine if the secret that has leaked could open anything; False where it was not needed."""
    # An older secret that opens nothing any more is no reason to stop the key.
    if leak.is_previous and (key.previous_until is None or key.previous_until <= timezone.now()):
        return False
    try:
        return services.quarantine(key, f"find_leaked_keys found it in a text, line {leak.line}")
    except services.KeyRevoked:
        return False


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
