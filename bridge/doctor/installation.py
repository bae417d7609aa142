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
from django.utils.translation import gettext

from accounts.models import ApiKey
from bridge.doctor.finding import Finding, fail, ok, warn
from bridge.doctor.installation_state import InstallationState

MIB = 1 << 20
FULL, NEARLY_FULL = 100 * MIB, 1024 * MIB


def settings(_: InstallationState) -> Iterator[Finding]:
    """Django's system checks find nothing wrong with the settings."""
    found = [each for each in checks.run_checks(tags=["lingma", "security"]) if not each.is_silenced()]
    for each in found:
        level = fail if each.is_serious() else warn
        yield level("settings", f"{each.msg} ({each.id})", each.hint or gettext("See README, Environment."))
    if not found:
        yield ok("settings", gettext("they make sense"))


def data_dir(state: InstallationState) -> Iterator[Finding]:
    """It takes files, and its disk has room."""
    directory = state.data_dir
    try:
        with tempfile.TemporaryFile(dir=directory) as file:
            # A real write: an empty file can be made on a full disk.
            file.write(bytes(4096))
    except OSError as exc:
        what = gettext("cannot write to %(path)s: %(error)s") % {"path": directory, "error": exc.strerror}
        yield fail("data", what, gettext("Give it to this user, or set DATA_DIR."))
    else:
        yield ok("data", gettext("%(path)s takes files") % {"path": directory})
    free = shutil.disk_usage(directory).free
    shown = gettext("%(size)d MiB free") % {"size": free // MIB}
    advice = gettext("Make room on the disk of %(path)s: the usage of turns goes there.") % {"path": directory}
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
        what = gettext("%(path)s is not there yet") % {"path": name}
        yield level("database", what, gettext("Start the gateway: make run. The first start makes it."))
        return
    try:
        executor = MigrationExecutor(connection)
        missing = executor.migration_plan(executor.loader.graph.leaf_nodes())
    except Error as exc:
        what = gettext("it does not answer: %(error)s") % {"error": exc}
        yield fail("database", what, gettext("Start the server, or correct DATABASE_URL."))
        return
    # Later examinations query tables, so they are left out unless all migrations are applied.
    if missing:
        level = fail if state.running else warn
        what = gettext("migrations not applied: %(count)d") % {"count": len(missing)}
        yield level("database", what, gettext("Restart the gateway, or manage.py migrate."))
        return
    state.database_answers = True
    yield ok("database", gettext("%(name)s answers, every migration is applied") % {"name": connection.vendor})


def keys(state: InstallationState) -> Iterator[Finding]:
    """There is a usable API key, and somebody for the console."""
    if not state.database_answers:
        return
    usable = ApiKey.objects.usable(datetime.fromtimestamp(state.now, UTC)).count()
    if usable:
        yield ok("keys", gettext("%(count)d usable") % {"count": usable})
    else:
        advice = gettext("manage.py create_api_key NAME makes one.")
        yield warn("keys", gettext("no API key is usable: nobody can chat"), advice)
    if not get_user_model().objects.filter(is_staff=True, is_active=True).exists():
        advice = gettext("manage.py createsuperuser makes somebody who can.")
        yield warn("keys", gettext("nobody can open the admin console"), advice)
