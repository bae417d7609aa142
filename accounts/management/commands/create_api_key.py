"""`create_api_key NAME …` creates a key and prints its secret once."""

from __future__ import annotations

import re
from argparse import ArgumentTypeError
from datetime import UTC, datetime, timedelta
from typing import Any

from django.core.exceptions import ValidationError
from django.core.management.base import CommandError, CommandParser
from django.db import IntegrityError, transaction
from django.utils import timezone

from accounts.audit.commands import RecordedCommand
from accounts.keys import services
from accounts.keys.model_names import warning_of
from accounts.models import LIMITS, NAME_TAKEN, ApiKey, Team, validate_name
from accounts.models.end import LAST
from gateway_project.lib.commands import names

# By their names: budgets have a period behind a `_`, and may be larger than 32 bits.
BUDGETS = tuple(name for name in LIMITS if "_" in name)
# As the columns hold, on both databases.
LARGEST_LIMIT = 2**31 - 1
LARGEST_BUDGET = 10**18 - 1
UNITS = {"m": "minutes", "h": "hours", "d": "days", "w": "weeks"}
TOO_LATE = "{} is later than any date that every zone can tell; leave --expires out for one that stays"


def moment(text: str) -> datetime:
    """A time from now such as `30d`, or a date (its start in UTC) or date and time."""
    at = _time(text)
    if at <= timezone.now():
        raise ArgumentTypeError(f"{text} is over already")
    if at > LAST:
        raise ArgumentTypeError(TOO_LATE.format(text))
    return at


def _time(text: str) -> datetime:
    if found := re.fullmatch(r"(\d{1,6})([mhdw])", text):
        try:
            return timezone.now() + timedelta(**{UNITS[found[2]]: int(found[1])})
        except OverflowError:
            raise ArgumentTypeError(TOO_LATE.format(text)) from None
    try:
        at = datetime.fromisoformat(text)
    except ValueError:
        raise ArgumentTypeError(f"{text!r} is neither like 30d or 12h nor a date like 2030-12-31") from None
    # UTC and not the server's zone: a script gives the same key on every machine.
    return at if at.tzinfo else at.replace(tzinfo=UTC)


def limit(text: str) -> int:
    """A whole number, 0 for no limit."""
    return _number(text, LARGEST_LIMIT)


def budget(text: str) -> int:
    """The same, for what may be larger."""
    return _number(text, LARGEST_BUDGET)


def _number(text: str, largest: int) -> int:
    if not re.fullmatch(r"\d{1,18}", text) or int(text) > largest:
        raise ArgumentTypeError(f"{text!r} is not a whole number from 0 to {largest}")
    return int(text)


def days(text: str) -> int:
    """A whole number from 1."""
    if not re.fullmatch(r"[1-9]\d{0,4}", text):
        raise ArgumentTypeError(f"{text!r} is not a whole number of days from 1")
    return int(text)


def team_of(name: str) -> Team | None:
    """The team of that name, made if there is none. Raise ValidationError."""
    # As the console does: names that differ by blanks alone would be two teams.
    name = name.strip()
    team = Team.objects.filter(name=name).first() if name else None
    if name and team is None:
        validate_name(name)
        team = Team(name=name)
        team.clean_fields()
        try:
            # A savepoint: on PostgreSQL a failed insert would spoil the whole transaction.
            with transaction.atomic():
                team.save()
        except IntegrityError:  # of two commands at once the other one has made it
            return Team.objects.get(name=name)
    return team


class Command(RecordedCommand):
    """Make a key and print it alone on stdout. It cannot be shown again."""

    help = __doc__

    def add_arguments(self, parser: CommandParser) -> None:
        parser.add_argument("name", help="whose key, or what for")
        parser.add_argument("--team", type=names, default=None, help="made when there is none of that name")
        parser.add_argument("--rpm", type=limit, default=0, help="requests per minute")
        parser.add_argument("--tpm", type=limit, default=0, help="tokens per minute")
        parser.add_argument("--concurrency", type=limit, default=0, help="turns at once")
        for name in BUDGETS:
            option = f"--{name.replace('_', '-')}"
            parser.add_argument(option, type=budget, default=0, help=f"{name.replace('_', ' per ')}, by the calendar")
        parser.add_argument("--models", type=names, default=None, help="comma-separated; all when left out")
        parser.add_argument("--scopes", type=names, default=None, help="comma-separated, such as metrics")
        parser.add_argument("--networks", type=names, default=None, help="comma-separated, such as 10.0.0.0/8")
        parser.add_argument("--expires", type=moment, default=None, help="30d, 12h or 2030-12-31")
        parser.add_argument("--expires-after-days", type=days, default=None, help="counted from the first use")

    # A team that was made for this key goes again when the key is refused.
    @transaction.atomic
    def handle(self, *args: Any, **options: Any) -> None:
        key = ApiKey(
            name=options["name"].strip(),
            allowed_models=options["models"] or "",
            allowed_networks=options["networks"] or "",
            scopes=options["scopes"] or "",
            expires_at=options["expires"],
            expires_after_days=options["expires_after_days"],
            **{name: options[name] for name in LIMITS},
        )
        try:
            validate_name(key.name)
            key.team = team_of(options["team"] or "")
            secret = services.create(key)
        except ValidationError as exc:
            raise CommandError(" ".join(exc.messages)) from None
        except IntegrityError:  # so it is with a key
            raise CommandError(str(NAME_TAKEN)) from None
        self.stdout.write(secret)
        # On stderr: a program takes the key alone from stdout.
        if warning := warning_of(key.allowed_models):
            self.stderr.write(warning)
