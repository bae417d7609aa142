"""One row per turn, and whether the gateway or the caller caused its failure."""

from __future__ import annotations

from typing import ClassVar

from django.db import models
from django.db.models import Q
from django.utils.translation import gettext, pgettext_lazy
from django.utils.translation import gettext_lazy as _

from accounts.models.key import ApiKey
from accounts.models.team import Team

# Refusals for the first reasons are the gateway's fault; all others are limits and mistakes of the caller. Errors for
# the second reasons are the caller's fault; all others are the gateway's. "permission" is the gateway's too: its Lingma
# account may not do something, or has used up its plan.
GATEWAY_FAULTS = ("unavailable", "overloaded", "upstream", "timeout", "internal")
CALLER_FAULTS = (
    "invalid_request", "content_filter", "context_full", "too_large", "authentication", "not_found", "revoked",
    "expired", "paused", "quarantined", "rotated", "network", "model", "unknown", "slow_client",
)  # fmt: skip
CLOSED = ("revoked", "expired", "paused", "quarantined", "rotated", "network")
"""Reasons of a key that opened nothing, so that it was not used."""

LONGEST_TRACE = 1024

OUTCOME_COLOURS = {"ok": "success", "error": "danger", "cancelled": "warning", "refused": "info"}


# A function and not only the property below: pages also ask it of rows that are no models.
def are_tokens_known(status: str, instance: str, usage_source: str) -> bool:
    """False for what never was asked or died unseen: its columns hold 0, so that they add up."""
    return status != "refused" and bool(instance and usage_source)


class UsageQuerySet(models.QuerySet["Usage"]):
    """Filters by who caused a failure."""

    def failed(self) -> UsageQuerySet:
        """Turns that failed because of the gateway or Lingma."""
        return self.filter(FAILED)

    def turned_away(self) -> UsageQuerySet:
        """Requests that a limit, the key or their own mistake stopped."""
        return self.filter(TURNED_AWAY)


# At the module and not in the query set: pages use them inside sums, too.
FAILED = Q(status="error") & ~Q(reason__in=CALLER_FAULTS) | Q(status="refused", reason__in=GATEWAY_FAULTS)
TURNED_AWAY = Q(status="error", reason__in=CALLER_FAULTS) | Q(status="refused") & ~Q(reason__in=GATEWAY_FAULTS)


class Usage(models.Model):
    """
    One turn, however it ended, or what was refused before it became one. Refusals of one key, endpoint, program and
    reason share a row for a minute, whose `count` rises; it has no model when they asked for several. Else a row
    changes only when its tokens become known late, or when the process of an orphaned turn ends it after all.
    """

    class Status(models.TextChoices):
        OK = "ok", _("ok")
        ERROR = "error", _("error")
        CANCELLED = "cancelled", _("cancelled")
        REFUSED = "refused", _("refused")

    class Agent(models.TextChoices):
        """Client programs, by their User-Agent."""

        CLAUDE_CODE = "claude-code", "Claude Code"
        CODEX = "codex", "Codex"
        OPENCODE = "opencode", "opencode"
        CLINE = "cline", "Cline"
        AIDER = "aider", "aider"
        OPENAI_PYTHON = "openai-python", _("OpenAI SDK, Python")
        OPENAI_NODE = "openai-node", _("OpenAI SDK, Node")
        ANTHROPIC_PYTHON = "anthropic-python", _("Anthropic SDK, Python")
        ANTHROPIC_NODE = "anthropic-node", _("Anthropic SDK, Node")
        LANGCHAIN = "langchain", "LangChain"
        LITELLM = "litellm", "LiteLLM"
        CURL = "curl", "curl"
        OTHER = "other", _("other")

    class Scope(models.TextChoices):
        """Whose limit it was."""

        KEY = "key", _("key")
        TEAM = "team", _("team")

    request_id = models.CharField(_("request"), max_length=64, unique=True)
    # Null when the key was gone before its last turns were filed.
    api_key = models.ForeignKey(
        ApiKey, models.PROTECT, null=True, related_name="usage", db_index=False, verbose_name=_("key")
    )
    # Without a constraint in the database: a row is filed later than its turn, and must not fail for its team's end.
    team = models.ForeignKey(
        Team, models.PROTECT, null=True, blank=True, related_name="usage", db_index=False, db_constraint=False,
        verbose_name=_("team"),
    )  # fmt: skip
    protocol = models.CharField(_("protocol"), max_length=16)
    endpoint = models.CharField(_("endpoint"), max_length=64)
    model = models.CharField(_("model asked"), max_length=128)
    lingma_model = models.CharField(_("model used"), max_length=128, blank=True)
    instance = models.CharField(_("instance"), max_length=64, blank=True)
    # A word for what became of the session ("new", "reused", …), not its id.
    session = models.CharField(_("session"), max_length=16, blank=True)
    stream = models.BooleanField(_("stream"))
    status = models.CharField(_("status"), max_length=16, choices=Status.choices)
    reason = models.CharField(_("reason"), max_length=64, blank=True)
    queue_ms = models.PositiveIntegerField(_("queued (ms)"))
    first_token_ms = models.PositiveIntegerField(_("first token (ms)"), null=True)
    total_ms = models.PositiveIntegerField(_("total (ms)"))
    prompt_tokens = models.PositiveIntegerField(_("prompt tokens"))
    completion_tokens = models.PositiveIntegerField(_("completion tokens"))
    usage_source = models.CharField(_("tokens from"), max_length=16, blank=True)
    client = models.CharField(_("client"), max_length=64, blank=True)
    agent = models.CharField(_("program"), max_length=32, choices=Agent, blank=True, default="", db_default="")
    tools = models.CharField(_("tools"), max_length=200, blank=True, default="", db_default="")
    trace_id = models.CharField(_("trace id"), max_length=32, blank=True, default="", db_default="")
    count = models.PositiveIntegerField(pgettext_lazy("how often", "times"), default=1, db_default=1)
    limit_scope = models.CharField(_("limit of"), max_length=8, choices=Scope, blank=True, default="", db_default="")
    # Budgets of tokens for a month may be larger than an integer of 32 bits.
    allowed = models.PositiveBigIntegerField(_("limit"), null=True, blank=True)
    value = models.PositiveBigIntegerField(_("stood at"), null=True, blank=True)
    retry_after = models.PositiveIntegerField(_("told to wait (s)"), null=True, blank=True)
    started_at = models.DateTimeField(_("started at"))
    trace = models.TextField(_("trace"), max_length=LONGEST_TRACE, blank=True, default="", db_default="")
    admitted = models.BooleanField(_("admitted"), default=False, db_default=False)
    """A turn that got a place or waited for one; of all others it is known only that they were refused."""

    objects = UsageQuerySet.as_manager()

    class Meta:
        verbose_name = _("turn")
        verbose_name_plural = _("usage")
        ordering: ClassVar = ["-started_at", "-id"]
        indexes: ClassVar = [
            # The id makes the order whole: deep pages then walk the index and nothing else.
            models.Index(fields=["api_key", "started_at"], name="usage_key_started"),
            models.Index(fields=["started_at", "id"], name="usage_started"),
            models.Index(fields=["status", "started_at"], name="usage_status_started"),
            models.Index(fields=["protocol", "started_at"], name="usage_protocol_started"),
            models.Index(fields=["agent", "started_at"], name="usage_agent_started"),
            models.Index(fields=["team", "started_at"], name="usage_team_started"),
        ]
        constraints: ClassVar = [
            models.CheckConstraint(condition=Q(status__in=["ok", "error", "cancelled", "refused"]), name="usage_status")
        ]

    def __str__(self) -> str:
        return self.request_id

    @property
    def tokens_known(self) -> bool:
        return are_tokens_known(self.status, self.instance, self.usage_source)

    @property
    def outcome(self) -> str:
        """How it ended, with the reason unless all went well, and how often where a row stands for several."""
        status = self.get_status_display()
        if self.status != self.Status.OK and self.reason:
            status = gettext("%(status)s: %(reason)s") % {"status": status, "reason": self.reason}
        return status if self.count == 1 else f"{status} × {self.count:,}"
