"""`create_api_token USER …` creates a token for `/api/` and prints it once."""

from __future__ import annotations

from typing import Any

from django.contrib.auth.models import User
from django.core.exceptions import ValidationError
from django.core.management.base import CommandError, CommandParser

from accounts.api.tokens import SCOPES, issue
from accounts.audit.commands import RecordedCommand
from accounts.management.commands.create_api_key import moment
from accounts.models import names_in
from gateway_project.lib.commands import names


class Command(RecordedCommand):
    """Make a token for a user's programs and print it alone on stdout. It cannot be shown again."""

    help = __doc__

    def add_arguments(self, parser: CommandParser) -> None:
        parser.add_argument("user", help="who may do with it what the user may do in the console")
        parser.add_argument("--expires", type=moment, default=None, help="30d, 12h or 2030-12-31; never when left out")
        parser.add_argument(
            "--scopes", type=names, default=None, help=f"comma-separated, of {', '.join(SCOPES)}; all when left out"
        )

    def handle(self, *args: Any, **options: Any) -> None:
        user = User.objects.filter(username=options["user"]).first()
        if user is None:
            raise CommandError(f"There is no user {options['user']}.")
        if not user.is_active:
            raise CommandError(f"The user {user} is not active.")
        try:
            token = issue(user, options["expires"], names_in(options["scopes"] or ""))
        except ValidationError as exc:
            raise CommandError(" ".join(exc.messages)) from None
        self.stdout.write(token)
