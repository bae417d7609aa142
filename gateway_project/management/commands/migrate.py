"""`manage.py migrate` is Django's, but for a database that has no tables yet: it gets all of them at once."""

from __future__ import annotations

from typing import Any

from django.core.management.base import no_translations
from django.core.management.commands import migrate
from django.db import connections

from gateway_project import new_tables

FOR_SOMETHING_ELSE = ("app_label", "fake", "fake_initial", "plan", "check_unapplied", "prune")


class Command(migrate.Command):
    @no_translations
    def handle(self, *args: Any, **options: Any) -> str | None:
        if not any(options[name] for name in FOR_SOMETHING_ELSE):
            count = new_tables.create(connections[options["database"]])
            if count and options["verbosity"] >= 1:
                self.stdout.write(f"Made all tables at once, as {count} migrations leave them.")
        # Even then: it tells the apps, which fill the tables.
        return super().handle(*args, **options)
