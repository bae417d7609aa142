"""What operators say of models: aliases and prompts."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any, ClassVar

from django.core.exceptions import ValidationError
from django.db import models
from django.db.models import Q
from django.db.models.functions import Lower
from django.utils.translation import gettext
from django.utils.translation import gettext_lazy as _

from bridge.models.changes import announce
from bridge.prompt.profile import DEFAULT_PROFILE, check
from gateway_project.lib.translated import translated


class RoutingQuerySet(models.QuerySet[Any, Any]):
    """Every way to change rows tells the web processes."""

    def update(self, **kwargs: Any) -> int:
        changed = super().update(**kwargs)
        announce()
        return changed

    def delete(self) -> tuple[int, dict[str, int]]:
        deleted = super().delete()
        announce()
        return deleted

    def bulk_create(self, objs: Iterable[Any], *args: Any, **kwargs: Any) -> list[Any]:
        created = super().bulk_create(objs, *args, **kwargs)
        announce()
        return created

    delete.alters_data = True  # type: ignore[attr-defined]  # Django keeps templates from calling what says so
    update.alters_data = True  # type: ignore[attr-defined]


class RoutingRow(models.Model):
    """A rule for names that fit a pattern; the first that is enabled and fits counts."""

    position = models.PositiveIntegerField(
        _("order"),
        default=100,
        help_text=_("Rules are tried from the smallest number on; the first that fits counts."),
    )
    enabled = models.BooleanField(_("enabled"), default=True, help_text=_("Switch it off to keep it for later."))
    note = models.CharField(_("note"), max_length=200, blank=True, help_text=_("For your colleagues."))

    objects = RoutingQuerySet.as_manager()

    class Meta:
        abstract = True

    def save(self, *args: Any, **kwargs: Any) -> None:
        super().save(*args, **kwargs)
        announce()

    def delete(self, *args: Any, **kwargs: Any) -> tuple[int, dict[str, int]]:
        deleted = super().delete(*args, **kwargs)
        announce()
        return deleted


def check_pattern(pattern: str) -> None:
    """Raise ValidationError for what no model name can fit."""
    if any(character.isspace() or not character.isprintable() for character in pattern):
        raise ValidationError(gettext("Model names have no blanks in them."))


class ModelAlias(RoutingRow):
    """What model names of a pattern mean here. What is left empty follows the settings."""

    class AskMode(models.TextChoices):
        CHAT = "chat", _("chat")
        AGENT = "agent", _("agent")

    class ToolMode(models.TextChoices):
        """What becomes of a request's own tools."""

        EMULATE = "emulate", _("emulate")
        BRIDGE = "bridge", _("bridge")
        FORWARD = "forward", _("forward")

    class Thinking(models.TextChoices):
        """Whether reasoning is shown to clients that do not say."""

        ON = "on", _("shown")
        OFF = "off", _("not shown")

    pattern = models.CharField(
        _("pattern"),
        max_length=100,
        validators=[check_pattern],
        help_text=_(
            "The name clients use, in any case. * stands for any text, ? for one character. "
            "Names of the account's own models always mean those models."
        ),
    )
    lingma_model = models.CharField(
        _("Lingma model"),
        max_length=100,
        blank=True,
        help_text=_("Key or display name. Empty, or not offered by the account: DEFAULT_MODEL."),
    )
    display_name = models.CharField(
        _("display name"),
        max_length=100,
        blank=True,
        help_text=_("For lists of models, which show names without * and ?. Empty: the name itself."),
    )
    ask_mode = models.CharField(
        _("ask mode"), max_length=8, choices=AskMode, blank=True,
        help_text=_("Usually DEFAULT_ASK_MODE."),
    )  # fmt: skip
    tool_mode = models.CharField(
        _("tool mode"), max_length=8, choices=ToolMode, blank=True,
        help_text=_("Usually TOOL_MODE."),
    )  # fmt: skip
    thinking = models.CharField(
        _("thinking"),
        max_length=4,
        choices=Thinking,
        blank=True,
        help_text=_("The model's reasoning, for requests that do not say whether they want it."),
    )

    class Meta:
        verbose_name = _("alias")
        verbose_name_plural = _("aliases")
        ordering: ClassVar = ["position", "id"]
        constraints: ClassVar = [
            models.UniqueConstraint(
                Lower("pattern"),
                name="modelalias_pattern",
                violation_error_message=_("Another alias has this pattern."),
            ),
            models.CheckConstraint(condition=~Q(pattern=""), name="modelalias_pattern_not_empty"),
            models.CheckConstraint(condition=Q(ask_mode__in=["", "chat", "agent"]), name="modelalias_ask_mode"),
            models.CheckConstraint(
                condition=Q(tool_mode__in=["", "emulate", "bridge", "forward"]), name="modelalias_tool_mode"
            ),
            models.CheckConstraint(condition=Q(thinking__in=["", "on", "off"]), name="modelalias_thinking"),
        ]

    def __str__(self) -> str:
        return self.pattern

    def clean(self) -> None:
        """Without blanks around names."""
        self.pattern, self.lingma_model = self.pattern.strip(), self.lingma_model.strip()


def shipped_template() -> str:
    """The text new prompts begin with."""
    return DEFAULT_PROFILE.template


def shipped_description_chars() -> int:
    """How much of a description is told unless an operator says otherwise."""
    return DEFAULT_PROFILE.description_chars


class PromptTemplate(RoutingRow):
    """How prompts that offer tools are put to Lingma models of a pattern."""

    pattern = models.CharField(
        _("pattern"),
        max_length=100,
        validators=[check_pattern],
        help_text=_("Keys of Lingma models, in any case. * stands for any text, ? for one character."),
    )
    template = models.TextField(_("template"), default=shipped_template)
    description_chars = models.PositiveIntegerField(
        _("longest description"),
        default=shipped_description_chars,
        help_text=_(
            "Characters of a tool's description that are told; the rest is cut. "
            "Fewer than eight tools share what eight of them may have."
        ),
    )
    native_calls = models.BooleanField(
        _("native calls"),
        default=True,
        help_text=_(
            "Until the model has called a tool as the template says, a call in its own notation counts as well, "
            "if it stands alone at the end of a reply and nowhere in the request."
        ),
    )

    class Meta:
        verbose_name = _("prompt")
        verbose_name_plural = _("prompts")
        ordering: ClassVar = ["position", "id"]
        constraints: ClassVar = [
            models.UniqueConstraint(
                Lower("pattern"),
                name="prompttemplate_pattern",
                violation_error_message=_("Another prompt has this pattern."),
            ),
            models.CheckConstraint(condition=~Q(pattern=""), name="prompttemplate_pattern_not_empty"),
        ]

    def __str__(self) -> str:
        return self.pattern

    def clean(self) -> None:
        """A template that lacks what tool instructions need is refused, with each reason."""
        self.pattern = self.pattern.strip()
        self.template = self.template.replace("\r\n", "\n")
        if problems := check(self.template):
            raise ValidationError({"template": [translated(problem) for problem in problems]})
