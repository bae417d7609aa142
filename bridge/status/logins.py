"""The lists of what a login can be made of, and of what can be wrong with one beside its account."""

from __future__ import annotations

import math

import msgspec

from bridge.status.labelled import Advised, Labelled
from gateway_project.lib.texts import gettext_noop


class LoginKind(Labelled):
    """How a login comes about, and how it is made again."""

    BUNDLE = "bundle", gettext_noop("files of a login")
    BROWSER = "browser", gettext_noop("browser")
    DEVICE = "device", gettext_noop("device")
    AK_SK = "ak_sk", gettext_noop("access key")
    PERSONAL_TOKEN = "personal_token", gettext_noop("personal token")
    AUTOMATIC = "automatic", gettext_noop("automatic")

    @property
    def has_credentials(self) -> bool:
        return self in (LoginKind.AK_SK, LoginKind.PERSONAL_TOKEN, LoginKind.AUTOMATIC)


class LoginProblem(Advised):
    """What keeps a login from an instance, and what to do."""

    NONE = "", ""
    UNREADABLE = (
        "unreadable", gettext_noop("its files cannot be decrypted"),
        gettext_noop("Add the key that they were encrypted with to SECRET_KEYS, or import them again."),
    )  # fmt: skip
    NOT_WRITTEN = (
        "not_written", gettext_noop("its files could not be put into a work directory"),
        gettext_noop("It is tried again at each start. See the log, and check the disk of DATA_DIR."),
    )  # fmt: skip
    NOT_TAKEN = (
        "not_taken", gettext_noop("Lingma does not take its files"),
        gettext_noop("Log it in again, or import files of a directory that is logged in: user and id belong together."),
    )  # fmt: skip


class WantedLogin(msgspec.Struct, frozen=True):
    """The login that an instance is to use."""

    login: int
    generation: int
    """0: there are no files yet."""
    brought_generation: int = 0
    """The last that came from outside: every instance takes it over."""
    expires_at: float = 0.0
    endpoint: str = ""
    renewed_from: float = math.inf
    """From when on it is made again without a person, once it is lost: Unix seconds; infinity: it is not."""
