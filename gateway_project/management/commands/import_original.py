"""`import_original DIR` takes over settings, API keys and logins of the original gateway."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from django.conf import settings
from django.core.exceptions import ValidationError
from django.core.management.base import CommandError, CommandParser
from django.db import transaction

from accounts.audit.commands import RecordedCommand
from accounts.keys import bootstrap
from accounts.models import ApiKey
from bridge.fleet import logins
from bridge.logins.bundle import ID, BadBundle, Bundle
from bridge.models import Login
from gateway_project import original
from gateway_project.backup import variables
from gateway_project.backup.errors import BackupError
from gateway_project.backup.whole_file import whole_file
from gateway_project.lib.counted import counted
from gateway_project.lib.secrets.key_secret import digest_of
from gateway_project.lib.secrets.secrets_at_rest import SecretUnreadableError
from gateway_project.original import Original


class Command(RecordedCommand):
    """Keys go on working for those who have them. What was imported before is not imported again, and no secret is
    printed.
    """

    help = __doc__

    def add_arguments(self, parser: CommandParser) -> None:
        parser.add_argument("folder", type=Path, metavar="DIR", help="where the original gateway has its .env")
        parser.add_argument("--dry-run", action="store_true", help="say everything, change nothing")
        parser.add_argument("--label", default="original", help="the name of the login here (%(default)s)")
        parser.add_argument(
            "--write-env",
            type=Path,
            metavar="F",
            help="a new file that gets the settings, secrets too, as an .env file",
        )

    def handle(self, *args: Any, **options: Any) -> None:
        folder, is_dry, file = options["folder"], options["dry_run"], options["write_env"]
        found = _found(folder)
        if file is not None and file.exists():
            raise CommandError(f"{file} is there already: name a new file for the settings.")
        self._list(found)
        try:
            keys, accounts = _import(found, options["label"], is_dry=is_dry)
            if file is not None and found.settings and not is_dry:
                with whole_file(file) as env:
                    env.write(variables.lines(found.settings).encode())
        except ValidationError as exc:
            raise CommandError(" ".join(exc.messages)) from None
        except BackupError as exc:
            raise CommandError(f"Keys and logins were imported; but {exc}") from None
        done = "Would import" if is_dry else "Imported"
        taken = f"{_of(keys, len(found.keys), 'key')} and {_of(accounts, len(found.logins), 'login')}"
        self.stdout.write(f"{done} {taken}; {_about_settings(found, file, is_dry=is_dry)}.")

    def _list(self, found: Original) -> None:
        lines = [f"{name}={value}" if original.is_shown(name) else f"{name}=… (not shown)"
                 for name, value in sorted(found.settings.items())]  # fmt: skip
        lines += [f"{name}: cannot be taken: {why}" for name, why in sorted(found.bad.items())]
        lines += [f"{original.KEYS}: key {number} {why}" for number, why in found.weak_keys]
        for names, what in (
            (found.defaults, "the default here too"), (found.not_needed, "not needed, this gateway has its own"),
            (found.unknown, "not known here"),
        ):  # fmt: skip
            if names:
                lines.append(f"{', '.join(sorted(names))}: {what}")
        for line in lines:
            self.stdout.write(line)


def _found(folder: Path) -> Original:
    """Raise CommandError when there is nothing."""
    if not folder.is_dir():
        raise CommandError(f"{folder} is no folder.")
    try:
        found = original.look_at(folder)
    except OSError as exc:
        raise CommandError(f"Cannot read {exc.filename or folder}: {exc.strerror}.") from None
    except ValueError as exc:
        raise CommandError(f"Cannot read {folder / '.env'}: {' '.join(str(exc).split())[:200]}.") from None
    if not (folder / ".env").is_file() and not found.logins:
        raise CommandError(f"There is neither an .env file nor a login in {folder}.")
    return found


def _import(found: Original, label: str, *, is_dry: bool) -> tuple[int, int]:
    """How many keys and logins are new."""
    with transaction.atomic():
        digests = {digest_of(key, settings.KEY_PEPPER) for key in found.keys}
        keys = len(digests) - ApiKey.objects.filter(digest__in=digests).count()
        by_label = {f"{label}-{name}" if name else label: bundle for name, bundle in found.logins.items()}
        new = _unknown(by_label)
        if not is_dry:
            bootstrap.import_keys(found.keys, settings.KEY_PEPPER)
            for name, bundle in new.items():
                logins.import_bundle(name, bundle)
    return keys, len(new)


def _unknown(found: Mapping[str, Bundle]) -> dict[str, Bundle]:
    """Those of them that are not stored, by their labels."""
    stored: dict[str, Bundle] = {}
    for login in Login.objects.exclude(bundle=None):
        try:
            stored[login.label] = Bundle.unpacked(login.bundle.read())
        except (SecretUnreadableError, BadBundle):
            continue
    digests = {each.digest for each in stored.values()}
    # Lingma renews a login, and the machine that it was made for stays: the files here are the newer ones.
    return {
        label: bundle
        for label, bundle in found.items()
        if bundle.digest not in digests and (label not in stored or stored[label].files[ID] != bundle.files[ID])
    }


def _of(new: int, count: int, what: str) -> str:
    what = what if count == 1 else f"{what}s"
    return f"{new} {what}" if new == count else f"{new} of {count} {what} (the others are here)"


def _about_settings(found: Original, file: Path | None, *, is_dry: bool) -> str:
    count = len(found.settings)
    if not count:
        return f"there are no settings to take{'' if file is None else f', so {file} was not written'}"
    if file is None:
        return f"{counted(count, 'setting')} {'is' if count == 1 else 'are'} to be set here, --write-env F writes them"
    return f"{counted(count, 'setting')} {'would be' if is_dry else 'is' if count == 1 else 'are'} in {file}"
