"""The keys of an installation: those of a backup become those of DATA_DIR, and what they do not fit any more is made
anew.
"""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Final

from django.conf import settings

from accounts.audit.context import unrecorded
from accounts.login import at_rest
from gateway_project.backup.records import Manifest
from gateway_project.backup.whole_file import sync_folder
from gateway_project.lib.secrets import secret_rotation

FOLDER: Final = "secrets"
DRAFT: Final = ".restoring"
BEFORE: Final = ".before-restore"


def reencrypt(manifest: Manifest) -> int:
    """Have this gateway's keys read all secrets of the database; how many none of the keys reads."""
    set_here = [key.get_secret_value() for key in settings.ENV.secret_keys]
    # What the environment says goes first; else it is what the backup has, and nothing has to be done.
    settings.SECRET_KEYS = list(dict.fromkeys([*(set_here or manifest.secret_keys[:1]), *manifest.secret_keys]))
    unreadable = 0
    with unrecorded():
        for model, name in secret_rotation.columns():
            unreadable += len(secret_rotation.rotate(model, name).unreadable)
        unreadable += len(at_rest.rotate().unreadable)
    return unreadable


class KeyFiles:
    """Of `DATA_DIR/secrets`: written beside those that are there, which then make room and are kept."""

    def __init__(self, data_dir: Path, manifest: Manifest) -> None:
        self._folder = data_dir / FOLDER
        self._wanted = {
            "django": manifest.secret_key, "keys": manifest.key_pepper, "at_rest": manifest.secret_keys[0],
        }  # fmt: skip

    @contextmanager
    def written(self) -> Iterator[None]:
        """They lie beside the others after the block, unless it fails. Raise OSError."""
        try:
            self._write()
            yield
        except BaseException:
            for name in self._wanted:
                (self._folder / (name + DRAFT)).unlink(missing_ok=True)
            raise

    def _write(self) -> None:
        self._folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        for name, text in self._wanted.items():
            draft = self._folder / (name + DRAFT)
            draft.unlink(missing_ok=True)
            with open(os.open(draft, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "w") as file:
                file.write(text)
                file.flush()
                os.fsync(file.fileno())

    def move(self) -> None:
        """Raise OSError."""
        for name, text in self._wanted.items():
            path, draft = self._folder / name, self._folder / (name + DRAFT)
            if path.exists() and path.read_text() == text:
                draft.unlink()
                continue
            if path.exists():
                path.replace(path.with_name(name + BEFORE))
            draft.replace(path)
        sync_folder(self._folder)
