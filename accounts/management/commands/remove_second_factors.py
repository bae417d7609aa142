"""`remove_second_factors USER` lets somebody in again who has lost telephone, keys and recovery codes."""

from __future__ import annotations

from typing import Any

from allauth.mfa.models import Authenticator
from django.contrib.auth.models import User
from django.core.management.base import CommandError, CommandParser

from accounts.audit.commands import RecordedCommand
from gateway_project.lib.counted import counted


class Command(RecordedCommand):
    """Remove the second factors of a user, who then logs in with the password alone."""

    help = __doc__

    def add_arguments(self, parser: CommandParser) -> None:
        parser.add_argument("user", help="the user's name")

    def handle(self, *args: Any, **options: Any) -> None:
        name = options["user"]
        user = User.objects.filter(username=name).first()
        if user is None:
            raise CommandError(f"There is no user {name}.")
        count = 0
        for factor in Authenticator.objects.filter(user=user):
            factor.delete()  # one by one, each with its row in the audit log
            count += 1
        self.stdout.write(f"Removed {counted(count, 'second factor')} of {name}, recovery codes included.")
