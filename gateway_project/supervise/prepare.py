"""Everything that needs Django before the gateway can serve, in one process; prints what bootstrap made, as JSON."""

import hashlib
import io
import os
import sys
import time
from pathlib import Path

from bridge.lingma import vsix
from gateway_project.databases import be_patient
from gateway_project.env import BASE_DIR, Environment, SettingError, load

REDIS_PATIENCE = 3.0


def wait_for_redis(env: Environment) -> None:
    """Return when Redis answers. Raise SettingError when it does not within some seconds."""
    import redis

    client = redis.Redis.from_url(env.redis_or_embedded_url, socket_connect_timeout=2, socket_timeout=2)
    deadline = time.monotonic() + REDIS_PATIENCE
    while True:
        try:
            client.ping()
        except (redis.RedisError, OSError) as exc:
            if time.monotonic() > deadline:
                raise SettingError(no_redis(env, exc)) from None
            time.sleep(0.02)
        else:
            client.close()
            return


def no_redis(env: Environment, exc: Exception) -> str:
    """Who is to blame: the embedded server says why in its own log, which is in the data directory."""
    if env.redis_url:
        return f"REDIS_URL: Redis does not answer: {one_line(exc)}"
    log = env.data_dir / "redis" / "server.log"
    try:
        lines = log.read_text(errors="replace").split("\n")[-20:]
    except OSError:
        lines = []
    said = " ".join(lines).strip()[-300:] or one_line(exc)
    return f"DATA_DIR: the embedded Redis does not start; {log} ends with: {said}"


def unpack_lingma(env: Environment) -> None:
    """Take the executable out of the VSIX, when that is where it comes from."""
    if env.takes_vsix:
        try:
            vsix.unpack(env.lingma_vsix, env.data_dir / "binaries", env.lingma_vsix_sha256)
        except vsix.VsixError as exc:
            raise SettingError(f"LINGMA_VSIX: {one_line(exc)}") from None


def migrate() -> None:
    """Apply what the database has not seen."""
    from django.core.management import call_command
    from django.db import connection
    from django.db.migrations.executor import MigrationExecutor

    executor = MigrationExecutor(connection)
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
        stamp.write_text(wanted)


def static_version() -> str:
    """A digest that changes with the locked libraries and with our own static files."""
    digest = hashlib.sha256((BASE_DIR / "requirements" / "run.txt").read_bytes())
    for path in sorted(BASE_DIR.glob("*/static/**/*")):
        digest.update(f"{path}{path.stat().st_mtime_ns}".encode())
    return digest.hexdigest()


def bootstrap() -> str:
    """Make the first superuser and the first key; a line of JSON says which."""
    from django.core.management import call_command

    output = io.StringIO()
    call_command("bootstrap", stdout=output)
    return output.getvalue().strip()


def prepare() -> str:
    """Do all of it."""
    env = load()
    wait_for_redis(env)
    unpack_lingma(env)
    os.environ.setdefault("DJANGO_SETTINGS_MODULE", "gateway_project.settings")
    import django
    from django.conf import settings
    from django.core.management import CommandError
    from django.db import Error

    be_patient(settings.DATABASES)  # migrations of large tables take their time
    try:
        django.setup()
        migrate()
        collect_static()
        return bootstrap()
    except Error as exc:
        raise SettingError(f"DATABASE_URL: the database cannot be used: {one_line(exc)}") from None
    except CommandError as exc:
        raise SettingError(one_line(exc)) from None
    except OSError as exc:  # no room, or no rights
        raise SettingError(f"DATA_DIR: cannot write to {exc.filename or env.data_dir}: {exc.strerror}") from None


def one_line(exc: Exception) -> str:
    """An error's words without their line breaks."""
    return " ".join(str(exc).split())


def main() -> None:
    """Exit 2 with one line when a setting is to blame."""
    try:
        sys.stdout.write(prepare() + "\n")
    except SettingError as exc:
        sys.stderr.write(f"{exc}\n")
        sys.exit(2)


if __name__ == "__main__":
    main()
