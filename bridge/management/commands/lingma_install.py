"""`lingma_install PATH|URL` unpacks a version of Lingma out of its VSIX, beside those that are there."""

from __future__ import annotations

import re
from argparse import ArgumentTypeError
from typing import Any

from django.conf import settings
from django.core.management.base import CommandError, CommandParser
from django.db import Error

from accounts.audit.commands import RecordedCommand
from bridge.fleet import versions
from bridge.lingma.errors import VsixError


def digest(text: str) -> str:
    """In hex: an empty variable in a script must not lift the check. As of `names`, its default is None."""
    if not re.fullmatch(r"[0-9a-f]{64}", found := text.strip().lower()):
        raise ArgumentTypeError(f"{text!r} is no SHA-256; leave it out for a file that needs none")
    return found


class Command(RecordedCommand):
    """Nothing runs it yet: that is for `--default`."""

    help = __doc__

    def add_arguments(self, parser: CommandParser) -> None:
        parser.add_argument("source", metavar="PATH|URL", help="the VSIX; http only with its digest")
        parser.add_argument("--sha256", type=digest, default=None, metavar="D", help="the digest that it must have")
        parser.add_argument("--default", action="store_true", help="have every instance run it that has no other order")

    def handle(self, *args: Any, **options: Any) -> None:
        try:
            row = versions.install(options["source"], settings.DATA_DIR, options["sha256"] or "")
            if options["default"]:
                versions.make_default(row)
        except VsixError as exc:
            raise CommandError(" ".join(str(exc).split())) from None
        except Error as exc:
            raise CommandError(f"The database cannot be used: {exc}") from None
        default = ", the default" if row.is_default else ""
        self.stdout.write(f"{row.version} is installed{default}; SHA-256 of the archive: {row.archive_sha256}")
