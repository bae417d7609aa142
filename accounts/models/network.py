"""The networks that a key was used from."""

from __future__ import annotations

from typing import ClassVar

from django.db import models
from django.utils.translation import gettext_lazy as _

from accounts.models.key import ApiKey


class KeyNetwork(models.Model):
    """A /24 of IPv4 or a /48 of IPv6. `accounts/alerts/networks` writes them and bounds how many a key has."""

    # No index of its own: that of the constraint below begins with the key. It goes with it.
    key = models.ForeignKey(
        ApiKey, models.CASCADE, db_index=False, related_name="networks", verbose_name=_("key")
    )  # fmt: skip
    # 39 characters of an address of IPv6 in full, and four of the prefix.
    network = models.CharField(_("network"), max_length=43)
    first_seen = models.DateTimeField(_("first seen"))
    last_seen = models.DateTimeField(_("last seen"))

    class Meta:
        verbose_name = _("network of a key")
        verbose_name_plural = _("networks of keys")
        default_permissions = ()
        constraints: ClassVar = [models.UniqueConstraint(fields=["key", "network"], name="keynetwork_key_network")]

    def __str__(self) -> str:
        return f"{self.key} {self.network}"
