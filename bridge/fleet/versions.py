"""Versions of Lingma: installed, listed, made the default, deleted. What instances run is up to their orders."""

from __future__ import annotations

from http import HTTPStatus
from pathlib import Path
from typing import Final

from django.db import transaction
from django.utils.translation import gettext

from bridge.lingma.errors import VsixError
from bridge.lingma.install import vsix
from bridge.lingma.install.vsix import Unpacked
from bridge.models import InstanceOrder, Version
from bridge.status.versions import WantedVersion
from gateway_project.lib.pages.uploads import Upload
from gateway_project.lib.texts import Text, gettext_noop
from gateway_project.lib.translated import translated

DIRECTORY: Final = "binaries"
"""Below DATA_DIR."""
NO_DIGEST: Final = "not installed"


NONE: Final = "none"
"""Instead of a version, which begins with a digit: the default again, or without one what the settings say."""


class UnknownVersion(Exception):
    """It was not installed. The message names those that were."""


class NotInstalled(Exception):
    """What was sent is of no use, or there is no room for it: the status of the answer, and why."""

    def __init__(self, status: HTTPStatus, text: Text) -> None:
        super().__init__(text)
        self.status, self.text = status, text


class VersionInUse(Exception):
    """It cannot be deleted; the message says why."""


def install(source: str, data_dir: Path, sha256: str = "") -> Version:
    """Unpack it beside the others and note what it is; `source` is a path or a URL. Raise VsixError."""
    found = vsix.install(source, data_dir / DIRECTORY, sha256, _require_same)
    return record(found)


def install_upload(upload: Upload, data_dir: Path, sha256: str, *, default: bool) -> Version:
    """Unpack a file that somebody has sent; `sha256` is the digest that it must have, if any. Raise NotInstalled."""
    wanted = sha256.strip().lower()
    try:
        # A digest that is known to be right is not looked at once more; another may be that of what gzip is around.
        row = install(str(upload.path), data_dir, "" if wanted == upload.sha256 else wanted)
    except VsixError as exc:
        cause = exc.__cause__
        is_full = isinstance(cause, OSError) and cause.errno in vsix.FULL
        status = HTTPStatus.INSUFFICIENT_STORAGE if is_full else HTTPStatus.BAD_REQUEST
        raise NotInstalled(status, _without_directory(exc.text, upload.path)) from None
    if default:
        make_default(row)
    return row


def _without_directory(text: Text, path: Path) -> Text:
    """Whoever has sent a file does not know where it lay meanwhile, and need not."""
    return Text(text.template, **{name: path.name if each == str(path) else each for name, each in text.values.items()})


def _require_same(found: Unpacked) -> None:
    """Other machines have this version already: here it must be the same one. Raise VsixError."""
    row = Version.objects.filter(version=found.version).first()
    if row is not None and row.archive_sha256 != found.archive_sha256:
        words = gettext_noop("%(version)s was installed from an archive with the SHA-256 %(sha256)s")
        raise VsixError(words, version=found.version, sha256=row.archive_sha256)


def record(found: Unpacked) -> Version:
    """Note what was unpacked here; a row that says it already stays as it is."""
    with transaction.atomic():
        before = Version.objects.select_for_update().filter(version=found.version).first()
        row = before or Version(version=found.version)
        is_other = row.archive_sha256 != found.archive_sha256
        executables = {**({} if is_other else row.executables), found.executable: found.sha256}
        if is_other or executables != row.executables:
            row.archive_sha256, row.executables = found.archive_sha256, executables
            row.save()
    return row


def named(name: str) -> Version:
    """Raise UnknownVersion."""
    row = Version.objects.filter(version=name).first()
    if row is None:
        known = ", ".join(Version.objects.values_list("version", flat=True)) or gettext("none")
        text = gettext("There is no version %(version)s. There are: %(known)s.")
        raise UnknownVersion(text % {"version": name[:64], "known": known})
    return row


def wanted_by(name: str) -> Version | None:
    """The version of that name; None for NONE. Raise UnknownVersion."""
    return None if name == NONE else named(name)


def as_it_is(version: Version) -> Version:
    """By now, and until the end of the transaction: what was loaded may be older than what others have made of it.

    Raise UnknownVersion where somebody has deleted it meanwhile.
    """
    found = Version.objects.select_for_update().filter(pk=version.pk).first()
    if found is None:
        deleted = gettext("%(name)s has been deleted meanwhile. Nothing was saved.")
        raise UnknownVersion(deleted % {"name": version})
    return found


def make_default(version: Version | None) -> None:
    """Have every instance run it that is not ordered to run another; None: what the settings say.

    Raise UnknownVersion where somebody has deleted it meanwhile.
    """
    with transaction.atomic():
        found = as_it_is(version) if version is not None else None
        for row in Version.objects.select_for_update().filter(is_default=True):
            if row != found:
                row.is_default = False
                row.save()
        if found is not None and not found.is_default:
            found.is_default = True
            found.save()
    if version is not None:
        version.is_default = True  # for who goes on with it


def delete(version: Version, data_dir: Path) -> None:
    """Delete the row, and the files of this machine. Raise VersionInUse."""
    with transaction.atomic():
        row = Version.objects.select_for_update().get(pk=version.pk)
        if row.is_default:
            raise VersionInUse(gettext("%(version)s is the default.") % {"version": row})
        names = sorted(InstanceOrder.objects.filter(version=row).values_list("name", flat=True))
        if names:
            used = gettext("%(version)s is ordered for %(names)s.")
            raise VersionInUse(used % {"version": row, "names": ", ".join(names)})
        row.delete()
        try:
            vsix.remove(row.version, data_dir / DIRECTORY)
        except VsixError as exc:
            raise VersionInUse(translated(exc.text)) from None


def trouble_here(row: Version, data_dir: Path) -> str:
    """Why it cannot be started on this machine, in English; "": it can."""
    found = wanted(row)
    if found is None or found.sha256 == NO_DIGEST or not (path := data_dir / DIRECTORY / found.executable).is_file():
        return "it is not installed on this machine"
    return "" if vsix.is_same(path, found.sha256) else f"{path} is not what was installed"


def wanted(row: Version | None) -> WantedVersion | None:
    """What is to be started of it on this machine; on one that it was never installed on, nothing can be."""
    if row is None:
        return None
    here = f"/{vsix.this_platform()}/"
    found = next((path for path in row.executables if here in path), f"{row.version}{here}Lingma")
    return WantedVersion(row.version, found, row.executables.get(found, NO_DIGEST))
