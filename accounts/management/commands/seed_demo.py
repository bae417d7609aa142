"""`seed_demo --rows N --seed S` fills the usage pages with teams, keys and usage whose sums are known."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from django.conf import settings
from django.core.management.base import CommandError, CommandParser
from django.utils import timezone

from accounts.audit.commands import RecordedCommand
from accounts.demo import seeding
from accounts.demo.expected import Expected
from accounts.demo.turns import DAYS
from accounts.models import Usage
from gateway_project.lib.counted import counted

LARGEST_SEED = 2**32 - 1


class Command(RecordedCommand):
    help = __doc__

    def add_arguments(self, parser: CommandParser) -> None:
        parser.add_argument("--rows", type=int, default=10_000, help="usage rows of the last 60 days (%(default)s)")
        parser.add_argument("--seed", type=int, default=1, help="the same seed makes the same (%(default)s)")
        parser.add_argument("--expected", type=Path, help="a file that gets the sums as JSON")
        parser.add_argument("--force", action="store_true", help="also into a database with usage of Lingma")

    def handle(self, *args: Any, **options: Any) -> None:
        rows, seed, file = options["rows"], options["seed"], options["expected"]
        # It stands in names of keys, which have an end.
        if rows < 1 or not 0 <= seed <= LARGEST_SEED:
            raise CommandError(f"--rows must be at least 1, and --seed from 0 to {LARGEST_SEED}.")
        # What the simulator answered is made up as well, and nobody will bill it.
        if not options["force"] and settings.ENV.upstream != "simulator" and Usage.objects.exists():
            raise CommandError(
                "There is usage of Lingma in this database already. Keys and turns of the demonstration would stand "
                "among it in all sums, and do not come out again; --force has them written all the same."
            )
        if file is not None:
            _require_writable(file)
        expected = Expected() if file else None
        # A whole hour, so that only times of day differ between two runs within it.
        end = timezone.now().replace(minute=0, second=0, microsecond=0)
        try:
            keys = seeding.write(seed, rows, end, expected)
            if expected is not None:
                about = {"seed": seed, "days": DAYS, "end": end.isoformat()}
                file.write_text(json.dumps(about | expected.as_json(), ensure_ascii=False, indent=1), encoding="utf-8")
        except seeding.Refused as exc:
            raise CommandError(f"Nothing was written: {exc}.") from None
        except OSError as exc:
            raise CommandError(f"The rows were written, but their sums cannot be: {exc}") from None
        self.stdout.write(
            f"{counted(rows, 'usage row')} of {counted(keys, 'key')}"
            f" in the {DAYS} days before {end:%Y-%m-%d %H:%M} UTC."
        )


def _require_writable(file: Path) -> None:
    """Before any row is there: the same seed is written once, so its sums would be lost. Raise CommandError."""
    is_new = not file.exists()
    try:
        with file.open("a"):
            pass
        if is_new:
            file.unlink()
    except OSError as exc:
        raise CommandError(f"Nothing was written: the file for the sums cannot be: {exc}") from None
