"""Settings, disk, database, keys."""

from __future__ import annotations

import shutil
import tempfile
from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path

from django.contrib.auth import get_user_model
from django.core import checks
from django.db import Error, connection
from django.db.migrations.executor import MigrationExecutor

from accounts.models import ApiKey
from bridge.doctor.finding import Finding, fail, ok, warn
from bridge.doctor.installation_state import InstallationState

MIB = 1 << 20
FULL, NEARLY_FULL = 100 * MIB, 1024 * MIB
START = "Start the gateway: make run."


def settings(_: InstallationState) -> Iterator[Finding]:
    """Django's system checks find nothing wrong with the settings."""
    found = [each for each in checks.run_checks(tags=["lingma", "security"]) if not each.is_silenced()]
    for each in found:
        level = fail if each.is_serious() else warn
        yield level("settings", f"{each.msg} ({each.id})", each.hint or "See README, Environment.")
    if not found:
        yield ok("settings", "they make sense")


def data_dir(state: InstallationState) -> Iterator[Finding]:
    """It takes files, and its disk has room."""
    directory = state.data_dir
    try:
        with tempfile.TemporaryFile(dir=directory) as file:
            # A real write: an empty file can be made on a full disk.
            file.write(bytes(4096))
    except OSError as exc:
        yield fail("data", f"cannot write to {directory}: {exc.strerror}", "Give it to this user, or set DATA_DIR.")
    else:
        yield ok("data", f"{directory} takes files")
    free = shutil.disk_usage(directory).free
    shown, advice = f"{free // MIB} MiB free", f"Make room on the disk of {directory}: the usage of turns goes there."
    if free < FULL:
        yield fail("disk", shown, advice)
    else:
        yield ok("disk", shown) if free >= NEARLY_FULL else warn("disk", shown, advice)


def database(state: InstallationState) -> Iterator[Finding]:
    """It answers and has all its tables."""
    name = Path(str(connection.settings_dict["NAME"]))
    # Connecting would create the file, and a doctor changes nothing.
    if connection.vendor == "sqlite" and not name.exists():
        level = fail if state.running else warn
        yield level("database", f"{name} is not there yet", f"{START} The first start makes it.")
        return
    try:
        executor = MigrationExecutor(connection)
        missing = executor.migration_plan(executor.loader.graph.leaf_nodes())
    except Error as exc:
        yield fail("database", f"it does not answer: {exc}", "Start the server, or correct DATABASE_URL.")
        return
    # Later examinations query tables, so they are left out unless all migrations are applied.
    if missing:
        level = fail if state.running else warn
        yield level("database", f"migrations not applied: {len(missing)}", "Restart the gateway, or manage.py migrate.")
        return
    state.database_answers = True
    yield ok("database", f"{connection.vendor} answers, every migration is applied")


def keys(state: InstallationState) -> Iterator[Finding]:
    """There is a usable API key, and a superuser for the console."""
    if not state.database_answers:
        return
    usable = ApiKey.objects.usable(datetime.fromtimestamp(state.now, UTC)).count()
    if usable:
        yield ok("keys", f"{usable} usable")
    else:
        yield warn("keys", "no API key is usable: nobody can chat", "manage.py create_api_key NAME makes one.")
    if not get_user_model().objects.filter(is_superuser=True, is_active=True).exists():
        yield warn("keys", "nobody can open the admin console", "manage.py createsuperuser makes somebody who can.")
