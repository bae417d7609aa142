"""Everything that needs Django before the gateway can serve, in one process; prints bootstrap's result as JSON."""

import contextlib
import hashlib
import io
import logging
import os
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any, NamedTuple

from bridge.lingma.errors import VsixError
from bridge.lingma.install import vsix
from gateway_project.databases import relax_deadlines
from gateway_project.env import BASE_DIR, Environment, SettingError, load
from gateway_project.lib.processes import console

REDIS_PATIENCE = 3.0
PREPARATION_LOCK = 8317
"""A key of PostgreSQL's advisory locks, which hold for one database."""
LOADING_PATIENCE = 300.0
"""A large append-only file takes minutes on a slow disk."""


def wait_for_redis(env: Environment) -> None:
    """Return when Redis can be used. Raise SettingError when it does not answer, or can never be used."""
    deadline = time.monotonic() + REDIS_PATIENCE
    while trouble := redis_trouble(env):
        patience = LOADING_PATIENCE - REDIS_PATIENCE if trouble.loading else 0
        # A wrong password or version does not change by waiting, so it is reported at once.
        if trouble.lasting or time.monotonic() > deadline + patience:
            raise SettingError(trouble.words)
        time.sleep(0.02)


class RedisTrouble(NamedTuple):
    """Why Redis cannot be used now. `lasting`: waiting is of no use; `loading`: it reads its own file."""

    words: str
    lasting: bool = False
    loading: bool = False


def redis_trouble(env: Environment) -> RedisTrouble | None:
    """One check; a server that is only full is fine, for the worker makes room in it."""
    # Imported late: this process is started anew each time, and an error in a setting should be reported soon.
    from gateway_project.lib.redis.lean_redis import redis
    from gateway_project.lib.redis import redis_fitness  # isort: skip  # it imports redis by itself
    from gateway_project.lib.redis.redis_client import connect

    try:
        with connect(env.redis_or_embedded_url, 2) as client:
            info: Any = client.info()
    except redis.AuthenticationError as exc:
        return RedisTrouble(f"REDIS_URL: Redis refuses the user or the password: {one_line(exc)}", lasting=True)
    except redis.exceptions.NoPermissionError:
        return None  # INFO is not allowed to this user, so nothing can be checked
    except (redis.RedisError, OSError) as exc:
        return RedisTrouble(no_redis(env, exc))
    if info.get("loading"):
        return RedisTrouble("REDIS_URL: Redis is still loading its data", loading=True)
    unfit = next((fault for fault in redis_fitness.faults(info) if fault.lasting), None)
    return unfit and RedisTrouble(f"REDIS_URL: Redis cannot be used: {unfit.what}. {unfit.advice}")


def no_redis(env: Environment, exc: Exception) -> str:
    """The message that names the setting to blame. The embedded server's own log says why it failed."""
    if env.redis_url:
        return f"REDIS_URL: Redis does not answer: {one_line(exc)}"
    log = env.data_dir / "redis" / "server.log"
    try:
        lines = log.read_text(errors="replace").split("\n")[-20:]
    except OSError:
        lines = []
    output = " ".join(lines).strip()[-300:] or one_line(exc)
    return f"DATA_DIR: the embedded Redis does not start; {log} ends with: {output}"


def unpack_lingma(env: Environment) -> None:
    """Take the executable out of the VSIX, when that is where it comes from."""
    if env.takes_vsix:
        try:
            vsix.unpack(env.lingma_vsix, env.data_dir / "binaries", env.lingma_vsix_sha256)
        except VsixError as exc:
            raise SettingError(f"LINGMA_VSIX: {one_line(exc)}") from None


def record_lingma(env: Environment) -> None:
    """Have what was unpacked in the list of versions."""
    if env.takes_vsix:
        from bridge.fleet import versions

        versions.record(vsix.last(env.data_dir / versions.DIRECTORY))


@contextlib.contextmanager
def one_at_a_time() -> Iterator[None]:
    """Machines that start together prepare their database one after the other. SQLite has one machine only."""
    from django.db import connection

    if connection.vendor != "postgresql":
        yield
        return
    with connection.cursor() as cursor:
        # Asked for again and again: to wait in the server would end with the deadline of a statement.
        # It ends with the preparation, for which the supervisor has PREPARE_PATIENCE.
        while not _locked(cursor, "SELECT pg_try_advisory_lock(%s)"):
            time.sleep(0.1)
        try:
            yield
        finally:
            _locked(cursor, "SELECT pg_advisory_unlock(%s)")


def _locked(cursor: Any, query: str) -> bool:
    cursor.execute(query, [PREPARATION_LOCK])
    return bool(cursor.fetchone()[0])


def migrate() -> None:
    """Apply the migrations that the database does not have yet."""
    from django.core.management import call_command
    from django.db import connection
    from django.db.migrations.executor import MigrationExecutor

    executor = MigrationExecutor(connection)
    # Checked first: the command does much more, also when there is nothing to apply.
    if executor.migration_plan(executor.loader.graph.leaf_nodes()):
        call_command("migrate", interactive=False, verbosity=0)


def collect_static() -> None:
    """Collect the static files when a library or a file of ours has changed since the last time."""
    from django.conf import settings
    from django.core.management import call_command

    stamp = Path(settings.STATIC_ROOT) / ".collected"
    wanted = static_version()
    if not stamp.exists() or stamp.read_text() != wanted:
        call_command("collectstatic", interactive=False, verbosity=0)
        # After the collection: one that was broken off is done again at the next start.
        stamp.write_text(wanted)


def static_version() -> str:
    """A digest that changes with the locked libraries and with our own static files."""
    digest = hashlib.sha256((BASE_DIR / "requirements" / "run.txt").read_bytes())
    # Of packages: DATA_DIR may lie beside them, with what is collected, and that is newer each time.
    folders = [package.parent / "static" for package in sorted(BASE_DIR.glob("*/__init__.py"))]
    for path in (each for folder in folders for each in sorted(folder.rglob("*"))):
        # Times, not contents: this is done at every start.
        digest.update(f"{path}{path.stat().st_mtime_ns}".encode())
    return digest.hexdigest()


def bootstrap() -> str:
    """Make the first superuser and the first key; a line of JSON says which."""
    from django.core.management import call_command

    output = io.StringIO()
    call_command("bootstrap", stdout=output)
    return output.getvalue().strip()


def prepare() -> str:
    """Do all of it; return what `bootstrap` made, as a line of JSON. Raise SettingError."""
    env = load()
    wait_for_redis(env)
    unpack_lingma(env)
    os.environ.setdefault("DJANGO_SETTINGS_MODULE", "gateway_project.settings")
    import django
    from django.conf import settings
    from django.core.management import CommandError
    from django.db import Error

    # Before the first connection, which reads these options.
    relax_deadlines(settings.DATABASES)  # migrations of large tables take their time
    console.served = False
    try:
        django.setup()
        with one_at_a_time():
            migrate()
            record_lingma(env)
            collect_static()
            return bootstrap()
    except Error as exc:
        raise SettingError(f"{database_of(env)} cannot be used: {one_line(exc)}") from None
    except CommandError as exc:
        raise SettingError(one_line(exc)) from None
    except OSError as exc:  # no room, or no rights
        raise SettingError(f"DATA_DIR: cannot write to {exc.filename or env.data_dir}: {exc.strerror}") from None


def database_of(env: Environment) -> str:
    """The setting to blame, and what it means."""
    return "DATABASE_URL: the database" if env.database_url else f"DATA_DIR: {env.data_dir / 'gateway.sqlite3'}"


def one_line(exc: Exception) -> str:
    return " ".join(str(exc).split())


def main() -> None:
    """Exit 2 with one line when a setting is to blame."""
    try:
        sys.stdout.write(prepare() + "\n")
    except SettingError as exc:
        logging.shutdown()  # ours is the last line
        sys.stderr.write(f"{exc}\n")
        sys.exit(2)


if __name__ == "__main__":
    main()
