"""What a key or a whole team may do: models, networks, tools, and its limits."""

from __future__ import annotations

import ipaddress
from typing import Final

from django.core.exceptions import ValidationError
from django.db import models
from django.utils.translation import gettext
from django.utils.translation import gettext_lazy as _

from accounts.patterns import flaw_of
from gateway_project.lib.tool_approval import Approval
from gateway_project.lib.translated import translated
from gateway_project.lib.visible import visible

MOST_NETWORKS: Final = 64
# Everywhere a limit is a place in this tuple: in `LimitSet.sizes`, the scripts in Redis and the counts of shadow
# limits. A further one changes all of these.
LIMITS: Final = (
    "rpm", "tpm", "concurrency",
    "requests_day", "requests_week", "requests_month",
    "tokens_day", "tokens_week", "tokens_month",
)  # fmt: skip
"""The limits in the order in which they are checked and shown. Budgets run by the calendar, the others slide."""
SCOPES: Final = ("metrics",)
NO_LIMIT = _("0: no limit.")


# Commas and not a JSON list: people write these texts, in forms and commands.
def names_in(text: str) -> list[str]:
    """The names in a text with commas, without blanks around them; none in an empty one."""
    return [name for part in text.split(",") if (name := part.strip())]


def validate_name(name: str) -> None:
    """Raise ValidationError for a name that looks like another one, or like none."""
    if name != visible(name):
        raise ValidationError(gettext("A name is of visible characters."))


def validate_models(text: str) -> None:
    """Raise ValidationError for a list of models that no key can have."""
    if flaw := flaw_of(names_in(text)):
        raise ValidationError(translated(flaw))


def validate_approval(text: str) -> None:
    """Raise ValidationError for an approval that cannot be read."""
    try:
        if text:
            Approval.read(text)
    except ValueError:
        raise ValidationError(gettext("Write deny, allow, or allow: and the names of tools.")) from None


def validate_scopes(text: str) -> None:
    """Raise ValidationError for a scope that opens nothing."""
    if unknown := [scope for scope in names_in(text) if scope not in SCOPES]:
        refusal = gettext("There is no scope %(scope)s. Known: %(scopes)s.")
        raise ValidationError(refusal % {"scope": unknown[0], "scopes": ", ".join(SCOPES)})


def validate_shadow(text: str) -> None:
    """Raise ValidationError for the name of no limit."""
    if unknown := [name for name in names_in(text) if name not in LIMITS]:
        refusal = gettext("There is no limit %(limit)s. Known: %(limits)s.")
        raise ValidationError(refusal % {"limit": unknown[0], "limits": ", ".join(LIMITS)})


def validate_networks(text: str) -> None:
    """Raise ValidationError for what is no address and no network."""
    networks = names_in(text)
    # Each request of the key compares its address with all of them.
    if len(networks) > MOST_NETWORKS:
        raise ValidationError(gettext("At most %(most)d networks.") % {"most": MOST_NETWORKS})
    for network in networks:
        try:
            ipaddress.ip_network(network, strict=False)
        except ValueError:
            raise ValidationError(gettext("%(network)s is no address and no network.") % {"network": network}) from None


class Policy(models.Model):
    """The columns that keys and teams have in common.

    A key takes from its team what is empty at the key itself; limits of both count, each for itself.
    """

    class ToolMode(models.TextChoices):
        """Values of the setting `TOOL_MODE`."""

        EMULATE = "emulate", _("emulate")
        BRIDGE = "bridge", _("bridge")
        FORWARD = "forward", _("forward")

    allowed_models = models.CharField(
        _("allowed models"),
        max_length=1000,
        blank=True,
        # Also in the database: during an upgrade an older version inserts rows without knowing the column.
        default="",
        db_default="",
        validators=[validate_models],
        help_text=_(
            "Comma-separated names or patterns such as claude-*, in any case; each counts for the name a client asks"
            " for and for the Lingma model it means. A ! in front forbids, and wins. Empty: no restriction here."
        ),
    )
    allowed_networks = models.CharField(
        _("allowed networks"),
        max_length=1000,
        blank=True,
        default="",
        db_default="",
        validators=[validate_networks],
        help_text=_("Comma-separated addresses or networks such as 10.0.0.0/8. Empty: no restriction here."),
    )
    scopes = models.CharField(
        _("scopes"), max_length=200, blank=True, default="", db_default="", validators=[validate_scopes],
        help_text=_("Comma-separated, such as metrics."),
    )  # fmt: skip
    tool_mode = models.CharField(
        _("tool mode"), max_length=16, choices=ToolMode, blank=True, default="", db_default="",
        help_text=_("Empty: as the gateway is set up."),
    )  # fmt: skip
    tool_approval = models.CharField(
        _("tool approval"), max_length=200, blank=True, default="", db_default="", validators=[validate_approval],
        help_text=_("deny, allow, or allow: and names. Empty: as the gateway is set up."),
    )  # fmt: skip
    rpm = models.PositiveIntegerField(_("requests per minute"), default=0, db_default=0, help_text=NO_LIMIT)
    tpm = models.PositiveIntegerField(_("tokens per minute"), default=0, db_default=0, help_text=NO_LIMIT)
    concurrency = models.PositiveIntegerField(_("turns at once"), default=0, db_default=0, help_text=NO_LIMIT)
    requests_day = models.PositiveBigIntegerField(_("requests per day"), default=0, db_default=0, help_text=NO_LIMIT)
    requests_week = models.PositiveBigIntegerField(_("requests per week"), default=0, db_default=0, help_text=NO_LIMIT)
    requests_month = models.PositiveBigIntegerField(
        _("requests per month"), default=0, db_default=0, help_text=NO_LIMIT
    )
    tokens_day = models.PositiveBigIntegerField(_("tokens per day"), default=0, db_default=0, help_text=NO_LIMIT)
    tokens_week = models.PositiveBigIntegerField(_("tokens per week"), default=0, db_default=0, help_text=NO_LIMIT)
    tokens_month = models.PositiveBigIntegerField(_("tokens per month"), default=0, db_default=0, help_text=NO_LIMIT)
    shadow = models.CharField(
        _("limits in shadow mode"), max_length=200, blank=True, default="", db_default="", validators=[validate_shadow],
        help_text=_("Comma-separated limits that are counted and shown but refuse nobody, such as rpm, tokens_day."),
    )  # fmt: skip

    class Meta:
        abstract = True
