"""`lingma_login LABEL --bundle DIR` imports a login of Lingma; `--instances` says which instances have it."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from django.conf import settings
from django.core.exceptions import ValidationError
from django.core.management.base import CommandError, CommandParser

from accounts.audit.commands import RecordedCommand
from accounts.management.commands.create_api_key import names
from accounts.models import names_in
from bridge.fleet import logins
from bridge.fleet.logins import LARGEST_CREDENTIALS
from bridge.logins.bundle import BadBundle, from_folder
from bridge.models import Login
from bridge.status.logins import LoginKind

KINDS = (LoginKind.PERSONAL_TOKEN, LoginKind.AK_SK)


class Command(RecordedCommand):
    """Store a login, encrypted; web processes give it to its instances within seconds, running turns first."""

    help = __doc__

    def add_arguments(self, parser: CommandParser) -> None:
        parser.add_argument("label", help="the name of the login; a new one is made")
        how = parser.add_mutually_exclusive_group()
        how.add_argument(
            "--bundle", type=Path, metavar="DIR",
            help="a work directory that is logged in, or a folder that has one with the files user and id",
        )  # fmt: skip
        how.add_argument(
            "--token-file",
            type=Path,
            metavar="F",
            help="a file with a personal token; it is kept, and no instance logs in with it yet",
        )
        how.add_argument(
            "--ak-sk-file",
            type=Path,
            metavar="F",
            help="a file with lines: access key, secret key,"
            " organisation; they are kept, and no instance logs in with them yet",
        )
        parser.add_argument("--endpoint", default=None, help="of a dedicated domain")
        parser.add_argument(
            "--instances",
            type=names,
            default=None,
            metavar="A,B",
            help="the instances that shall have it, and no others",
        )

    def handle(self, *args: Any, **options: Any) -> None:
        try:
            self.stdout.write(_done(options))
        except (BadBundle, OSError) as exc:
            raise CommandError(str(exc)) from None
        except ValidationError as exc:
            raise CommandError(" ".join(exc.messages)) from None


def _done(options: dict[str, Any]) -> str:
    login = _stored(options)
    said = f"{login.label}: generation {login.generation}" if login.generation else f"{login.label}: {login.kind}"
    if options["instances"] is not None:
        chosen = names_in(options["instances"])
        logins.assign(login, chosen, settings.REDIS_URL)
        return f"{said}, on {', '.join(sorted(chosen)) or 'no instance'}"
    return said


def _stored(options: dict[str, Any]) -> Login:
    label, endpoint = options["label"].strip(), options["endpoint"]
    if options["bundle"] is not None:
        return logins.import_bundle(label, from_folder(options["bundle"]), endpoint)
    for kind, path in zip(KINDS, (options["token_file"], options["ak_sk_file"]), strict=True):
        if path is not None:
            return logins.import_credentials(label, kind, _content(path), endpoint)
    found = Login.objects.filter(label=label).first()
    if found is None:
        raise CommandError(f"There is no login {label}. Import one with --bundle DIR.")
    if endpoint is not None:
        found.endpoint = endpoint
        found.full_clean()
        found.save(update_fields=["endpoint"])
    return found


def _content(path: Path) -> bytes:
    with path.open("rb") as file:
        return file.read(LARGEST_CREDENTIALS + 1)
