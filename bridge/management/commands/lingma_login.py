"""`lingma_login LABEL` logs in to Lingma, or imports a login: by files, a browser, a device, keys, or by itself."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Any, Final

from django.conf import settings
from django.core.exceptions import ValidationError
from django.core.management.base import CommandError, CommandParser

from accounts.audit.commands import RecordedCommand
from accounts.models import names_in
from bridge.fleet import attempts, logins
from bridge.fleet.logins import LARGEST_CREDENTIALS
from bridge.logins.bundle import BadBundle, from_folder
from bridge.management.login_terminal import follow
from bridge.models import Login
from bridge.status.attempts import AttemptReason
from bridge.status.logins import LoginKind
from gateway_project.lib.commands import names

WAYS: Final = {
    "browser": LoginKind.BROWSER, "device": LoginKind.DEVICE, "auto": LoginKind.AUTOMATIC,
    "token_file": LoginKind.PERSONAL_TOKEN, "ak_sk_file": LoginKind.AK_SK,
}  # fmt: skip


class Command(RecordedCommand):
    """What is made is stored, encrypted; web processes give it to its instances within seconds."""

    help = __doc__

    def add_arguments(self, parser: CommandParser) -> None:
        parser.add_argument("label", help="the name of the login; a new one is made")
        _add_ways(parser.add_mutually_exclusive_group())
        parser.add_argument(
            "--password-file", type=Path, metavar="F", help="with --auto: two lines, user name and password, to keep"
        )
        parser.add_argument("--store-only", action="store_true", help="keep the secrets of a file, and log in later")
        parser.add_argument("--endpoint", default=None, help="of a dedicated domain")
        parser.add_argument(
            "--instances", type=names, default=None, metavar="A,B",
            help="names of the instances that use it; all others are taken off it",
        )  # fmt: skip

    def handle(self, *args: Any, **options: Any) -> None:
        _check(options)
        instances = None if options["instances"] is None else names_in(options["instances"])
        try:
            if instances is not None:
                # First: nothing may be stored when one of them is misspelt.
                logins.require_there(options["label"].strip(), instances, settings.REDIS_URL)
            login, way = _stored(options)
            if instances is not None:
                logins.assign(login, instances, settings.REDIS_URL)
            if way is not None and not options["store_only"]:
                self._log_in(login, way)
        except (BadBundle, OSError) as exc:
            raise CommandError(str(exc)) from None
        except ValidationError as exc:
            raise CommandError(" ".join(exc.messages)) from None
        login.refresh_from_db(fields=["generation"])
        self.stdout.write(_said(login, options["instances"]))

    def _log_in(self, login: Login, way: LoginKind) -> None:
        pasted = b""
        if way is LoginKind.DEVICE:
            if sys.stdin.isatty():
                self.stderr.write("Paste JSON with token, refreshToken, expireTime, userId and username; end with ^D.")
            pasted = sys.stdin.buffer.read(attempts.LARGEST_PASTED + 1)
        attempt, is_new = attempts.begin(login, way, AttemptReason.COMMAND, pasted, hand_over=False)
        if attempt is None:
            raise CommandError(f"{login.label}: another attempt has just ended; see how it ended, and try again.")
        if not is_new:
            self.stderr.write(f"{login.label}: an attempt runs already; this follows it.")
        follow(attempt, self.stderr.write)


def _add_ways(how: Any) -> None:
    how.add_argument(
        "--bundle", type=Path, metavar="DIR",
        help="a work directory that is logged in, a folder that has one with the files user and id, or a ZIP of either",
    )  # fmt: skip
    how.add_argument(
        "--browser", action="store_true",
        help="shows an address to log in at; where the browser ends is pasted here, unless it reaches this machine",
    )  # fmt: skip
    how.add_argument(
        "--device", action="store_true",
        help="reads from standard input JSON with token, refreshToken, expireTime, userId and username",
    )  # fmt: skip
    how.add_argument(
        "--token-file", type=Path, metavar="F", help="logs in with the personal token of a file, and keeps it"
    )
    how.add_argument(
        "--ak-sk-file", type=Path, metavar="F",
        help="logs in with a file with lines: access key, secret key, organisation; and keeps them",
    )  # fmt: skip
    how.add_argument("--auto", action="store_true", help="has a browser here log in with the password that is kept")


def _check(options: dict[str, Any]) -> None:
    """What belongs together: nothing that is given may be left unread. Raise CommandError."""
    if options["password_file"] is not None and not options["auto"]:
        raise CommandError("--password-file is for --auto.")
    if options["store_only"] and not any(options[name] for name in ("token_file", "ak_sk_file", "password_file")):
        raise CommandError("--store-only is for the secrets of a file: --token-file, --ak-sk-file or --password-file.")


def _said(login: Login, chosen: str | None) -> str:
    said = f"{login.label}: generation {login.generation}" if login.generation else f"{login.label}: {login.kind}"
    if chosen is None:
        return said
    return f"{said}, on {', '.join(sorted(names_in(chosen))) or 'no instance'}"


def _stored(options: dict[str, Any]) -> tuple[Login, LoginKind | None]:
    """The login with what was given, and the way to log in now, if any."""
    label, endpoint = options["label"].strip(), options["endpoint"]
    if options["bundle"] is not None:
        return logins.import_bundle(label, from_folder(options["bundle"]), endpoint), None
    way = next((way for name, way in WAYS.items() if options[name]), None)
    secrets = options["token_file"] or options["ak_sk_file"] or (options["password_file"] if options["auto"] else None)
    if way is not None and secrets is not None:
        return logins.import_credentials(label, way, _content(secrets), endpoint), way
    found = Login.objects.filter(label=label).first()
    if found is None:
        if way not in (LoginKind.BROWSER, LoginKind.DEVICE):
            raise CommandError(f"There is no login {label}. Import one with --bundle DIR, or make one with --browser.")
        return logins.make(label, way, endpoint), way
    if endpoint is not None:
        found.endpoint = endpoint
        found.full_clean()
        found.save(update_fields=["endpoint"])
    return found, way


def _content(path: Path) -> bytes:
    with path.open("rb") as file:
        return file.read(LARGEST_CREDENTIALS + 1)
