"""`bootstrap` creates what a new installation needs: imported keys, a superuser, a key. Safe to run at every start."""

from __future__ import annotations

import json
from typing import Any

from django.conf import settings

from accounts.audit.commands import RecordedCommand
from accounts.keys import bootstrap


class Command(RecordedCommand):
    """Print one line of JSON: `admin_username`, and `admin_password` and `api_key` where they were made just now."""

    help = __doc__

    def handle(self, *args: Any, **options: Any) -> None:
        env = settings.ENV
        # First: with imported keys there is no need for one of our own making.
        bootstrap.import_keys(env.api_keys, settings.KEY_PEPPER)
        created = {
            "admin_username": env.admin_username,
            "admin_password": bootstrap.first_superuser(env.admin_username, env.admin_password.get_secret_value()),
            "api_key": bootstrap.first_key(),
        }
        # The supervisor reads it, and shows what was made to whoever started the gateway.
        self.stdout.write(json.dumps(created))
