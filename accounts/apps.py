"""The Django application."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from datetime import datetime
from types import MappingProxyType
from typing import TYPE_CHECKING, cast

from django.apps import AppConfig, apps
from django.conf import settings
from django.utils.translation import gettext_lazy as _

if TYPE_CHECKING:
    from accounts.explain.changes import Changes


class AccountsConfig(AppConfig):
    """The app, what its rooms need of the settings, and functions about models that the bridge sets."""

    name = "accounts"
    verbose_name = _("Access")
    offered_models: Callable[[], Mapping[str, str]] = staticmethod(dict)
    """Returns the names of the models that are available now, to their keys. Set by the bridge."""
    unknown_models: Callable[[Iterable[str]], list[str]] = staticmethod(lambda names: [])
    """Returns those of the names and patterns that mean no model. Set by the bridge."""
    names_of: Callable[[str], tuple[str, ...]] = staticmethod(lambda name: (name,))
    """Returns every name by which a model may be allowed to a key, or forbidden. Set by the bridge."""

    places: Callable[[], int | None] = staticmethod(lambda: None)
    """Returns how many turns the instances take at once, None where nobody knows. Set by the bridge."""
    changes: Callable[[Sequence[str], datetime, datetime], Changes | None] = staticmethod(lambda *around: None)
    """Returns what happened to these instances from one time to another, None where nobody knows. Set by the bridge."""
    ledger_is_wrong: Callable[[], bool] = staticmethod(lambda: False)
    """Whether turns were lost, or sums are wrong, as far as that is known. Set by the bridge."""

    states: Mapping[str, str] = MappingProxyType({})
    """What is said of an instance that was in a state, in English. Set by the bridge."""

    @property
    def content_days(self) -> int:
        """How long contents of keys with content logging are kept; 0: nobody's are."""
        return int(settings.CONTENT_RETENTION_DAYS)

    @property
    def default_model(self) -> str:
        """The Lingma model of names that mean none."""
        return str(settings.ENV.default_model)

    @property
    def pepper(self) -> bytes:
        """Digests of keys are made with it."""
        return bytes(settings.KEY_PEPPER)


def accounts_config() -> AccountsConfig:
    """The configuration of this app. Only after Django is set up."""
    return cast("AccountsConfig", apps.get_app_config("accounts"))
