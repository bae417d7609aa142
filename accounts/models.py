"""What the database keeps of access: teams, keys as digests, and one row per turn."""

from __future__ import annotations

from datetime import datetime
from typing import Any, ClassVar

from django.core.exceptions import ValidationError
from django.db import models
from django.db.models import Q
from django.utils import timezone
from django.utils.text import Truncator

from accounts.keys.announce import MOST, announce
from accounts.patterns import flaw_of
from gateway_project.lib.key_secret import digest_of, hint_of, mint
from gateway_project.lib.visible import visible

NAMED = MOST + 1  # no more digests are read to be announced


def names_in(text: str) -> list[str]:
    """The names in a comma-separated list."""
    return [name for part in text.split(",") if (name := part.strip())]


def validate_models(text: str) -> None:
    """Raise ValidationError for a list of models that no key can have."""
    if flaw := flaw_of(names_in(text)):
        raise ValidationError(flaw)


SCOPES = ("metrics",)


def validate_scopes(text: str) -> None:
    """Raise ValidationError for a scope that opens nothing."""
    if unknown := [scope for scope in names_in(text) if scope not in SCOPES]:
        raise ValidationError(f"There is no scope {unknown[0]}. Known: {', '.join(SCOPES)}.")


class Team(models.Model):
    """Who shares keys and figures."""

    name = models.CharField(max_length=100, unique=True)
    created_at = models.DateTimeField(default=timezone.now, editable=False)

    class Meta:
        ordering: ClassVar = ["name"]

    def __str__(self) -> str:
        return visible(self.name)

    def save(self, *args: Any, **kwargs: Any) -> None:
        """Save and announce."""
        super().save(*args, **kwargs)
        announce(self.keys.values_list("digest", flat=True)[:NAMED])  # callers carry the team's name


class ApiKeyQuerySet(models.QuerySet["ApiKey"]):
    """Every way to change keys announces the change, except for noting their use."""

    def usable(self, at: datetime) -> ApiKeyQuerySet:
        """Keys that open the door at that time."""
        return self.filter(Q(expires_at=None) | Q(expires_at__gt=at), revoked_at=None)

    def revoke(self) -> int:
        """Revoke those that are live; how many there were."""
        return self.filter(revoked_at=None).update(revoked_at=timezone.now())

    def update(self, **kwargs: Any) -> int:
        """Update and announce."""
        digests = self._digests()
        changed = super().update(**kwargs)
        announce(digests if len(digests) == changed else None)  # others may have come meanwhile
        return changed

    def note_use(self, key_id: int, at: datetime, client: str) -> int:
        """Move the key's last use forward, never back; 1 when it moved."""
        later = self.filter(Q(last_used_at=None) | Q(last_used_at__lt=at), pk=key_id)
        return super(ApiKeyQuerySet, later).update(last_used_at=at, last_used_from=client)

    def delete(self) -> tuple[int, dict[str, int]]:
        """Delete and announce."""
        digests = self._digests()
        deleted = super().delete()
        announce(digests if len(digests) == deleted[1].get(self.model._meta.label, 0) else None)
        return deleted

    def _digests(self) -> list[str]:
        return list(self.order_by().values_list("digest", flat=True)[:NAMED])

    delete.alters_data = True  # type: ignore[attr-defined]  # Django keeps templates from calling what says so
    update.alters_data = True  # type: ignore[attr-defined]


class ApiKey(models.Model):
    """What a caller holds. Of the secret only a digest is kept."""

    name = models.CharField(max_length=100, help_text="Whose key, or what for.")
    team = models.ForeignKey(Team, models.PROTECT, null=True, blank=True, related_name="keys")
    hint = models.CharField(max_length=16, editable=False)
    digest = models.CharField(max_length=64, unique=True, editable=False)
    created_at = models.DateTimeField(default=timezone.now, editable=False)
    expires_at = models.DateTimeField(null=True, blank=True, help_text="Empty: never.")
    revoked_at = models.DateTimeField(null=True, blank=True, editable=False)
    last_used_at = models.DateTimeField(null=True, blank=True, editable=False)
    last_used_from = models.CharField(max_length=64, blank=True, editable=False)
    allowed_models = models.CharField(
        max_length=1000,
        blank=True,
        validators=[validate_models],
        help_text=(
            "Comma-separated names or patterns such as claude-*, in any case; each counts for the name a client asks"
            " for and for the Lingma model it means. Empty: every model."
        ),
    )
    scopes = models.CharField(
        max_length=200, blank=True, validators=[validate_scopes], help_text="Comma-separated, such as metrics."
    )
    rpm = models.PositiveIntegerField("requests per minute", default=0, help_text="0: no limit.")
    tpm = models.PositiveIntegerField("tokens per minute", default=0, help_text="0: no limit.")
    concurrency = models.PositiveIntegerField("turns at once", default=0, help_text="0: no limit.")

    objects = ApiKeyQuerySet.as_manager()

    class Meta:
        verbose_name = "key"
        ordering: ClassVar = ["-created_at"]
        constraints: ClassVar = [
            models.UniqueConstraint(
                fields=["name"],
                condition=Q(revoked_at=None),
                name="apikey_live_name",
                violation_error_message="A live key has this name already.",
            ),
            models.CheckConstraint(
                condition=Q(rpm__gte=0, tpm__gte=0, concurrency__gte=0), name="apikey_limits_not_negative"
            ),
        ]

    def __str__(self) -> str:
        return f"{visible(self.name)} ({self.hint})"

    def save(self, *args: Any, **kwargs: Any) -> None:
        """Save and announce."""
        before = ApiKey.objects.filter(pk=self.pk).values_list("digest", flat=True) if self.pk else ()
        digests = {*before, self.digest}  # it may have taken another secret
        super().save(*args, **kwargs)
        announce(digests)

    def delete(self, *args: Any, **kwargs: Any) -> tuple[int, dict[str, int]]:
        """Delete and announce."""
        deleted = super().delete(*args, **kwargs)
        announce([self.digest])
        return deleted

    @staticmethod
    def cut(name: str) -> str:
        """A name as lists show it: on one line."""
        return Truncator(visible(name)).chars(32)

    @property
    def short_name(self) -> str:
        """Its name, for lists of other things."""
        return self.cut(self.name)

    def adopt(self, secret: str, pepper: bytes) -> None:
        """Take this secret; only its digest and a hint are kept."""
        self.hint, self.digest = hint_of(secret), digest_of(secret, pepper)

    def renew_secret(self, pepper: bytes) -> str:
        """Take a new secret and return it: the only time it is seen."""
        secret = mint()
        self.adopt(secret, pepper)
        return secret

    def state(self, at: datetime) -> str:
        """`live`, `expired` or `revoked`."""
        if self.revoked_at is not None:
            return "revoked"
        return "expired" if self.expires_at is not None and self.expires_at <= at else "live"


# Whose fault it is: refusals for these reasons are the gateway's, all others are limits and mistakes of the caller;
# errors for those reasons are the caller's, all others are the gateway's: also "permission", for it is the account of
# the gateway that may not do something, or has used up its plan.
OURS = ("unavailable", "overloaded", "upstream", "timeout", "internal")
THEIRS = (
    "invalid_request", "content_filter", "context_full", "too_large", "authentication", "not_found", "revoked",
    "expired", "unknown", "slow_client",
)  # fmt: skip

OUTCOME_COLOURS = {"ok": "success", "error": "danger", "cancelled": "warning", "refused": "info"}


class UsageQuerySet(models.QuerySet["Usage"]):
    """Turns by whose fault their end was."""

    def failed(self) -> UsageQuerySet:
        """Turns the gateway owed an answer and did not give."""
        return self.filter(FAILED)

    def turned_away(self) -> UsageQuerySet:
        """Requests that a limit, the key or their own mistake stopped."""
        return self.filter(Q(status="error", reason__in=THEIRS) | Q(status="refused") & ~Q(reason__in=OURS))


FAILED = Q(status="error") & ~Q(reason__in=THEIRS) | Q(status="refused", reason__in=OURS)


class Usage(models.Model):
    """
    One turn, however it ended, or what was refused before it became one. Rows are written once and never changed, but
    for `count`: refusals of one key, endpoint and reason share a row for a minute.
    """

    class Status(models.TextChoices):
        """How a turn ended."""

        OK = "ok", "ok"
        ERROR = "error", "error"
        CANCELLED = "cancelled", "cancelled"
        REFUSED = "refused", "refused"

    class Agent(models.TextChoices):
        """Families of programs that call, by their User-Agent."""

        CLAUDE_CODE = "claude-code", "Claude Code"
        CODEX = "codex", "Codex"
        OPENCODE = "opencode", "opencode"
        CLINE = "cline", "Cline"
        AIDER = "aider", "aider"
        OPENAI_PYTHON = "openai-python", "OpenAI SDK, Python"
        OPENAI_NODE = "openai-node", "OpenAI SDK, Node"
        ANTHROPIC_PYTHON = "anthropic-python", "Anthropic SDK, Python"
        ANTHROPIC_NODE = "anthropic-node", "Anthropic SDK, Node"
        LANGCHAIN = "langchain", "LangChain"
        LITELLM = "litellm", "LiteLLM"
        CURL = "curl", "curl"
        OTHER = "other", "other"

    request_id = models.CharField("request", max_length=64, unique=True)
    # Null when the key was gone before its last turns were filed.
    api_key = models.ForeignKey(
        ApiKey, models.PROTECT, null=True, related_name="usage", db_index=False, verbose_name="key"
    )
    protocol = models.CharField(max_length=16)
    endpoint = models.CharField(max_length=64)
    model = models.CharField("model asked", max_length=128)
    lingma_model = models.CharField("model used", max_length=128, blank=True)
    instance = models.CharField(max_length=64, blank=True)
    session = models.CharField(max_length=16, blank=True)
    stream = models.BooleanField()
    status = models.CharField(max_length=16, choices=Status.choices)
    reason = models.CharField(max_length=64, blank=True)
    queue_ms = models.PositiveIntegerField("queued (ms)")
    first_token_ms = models.PositiveIntegerField("first token (ms)", null=True)
    total_ms = models.PositiveIntegerField("total (ms)")
    prompt_tokens = models.PositiveIntegerField()
    completion_tokens = models.PositiveIntegerField()
    usage_source = models.CharField("tokens from", max_length=16, blank=True)
    client = models.CharField(max_length=64, blank=True)
    agent = models.CharField("program", max_length=32, choices=Agent, blank=True, default="", db_default="")
    tools = models.CharField(max_length=200, blank=True, default="", db_default="")
    count = models.PositiveIntegerField("times", default=1, db_default=1)
    allowed = models.PositiveIntegerField("limit", null=True, blank=True)
    value = models.PositiveIntegerField("stood at", null=True, blank=True)
    retry_after = models.PositiveIntegerField("told to wait (s)", null=True, blank=True)
    started_at = models.DateTimeField()

    objects = UsageQuerySet.as_manager()

    class Meta:
        verbose_name = "turn"
        verbose_name_plural = "usage"
        ordering: ClassVar = ["-started_at", "-id"]
        indexes: ClassVar = [
            # The id makes the order whole: deep pages then walk the index and nothing else.
            models.Index(fields=["api_key", "started_at"], name="usage_key_started"),
            models.Index(fields=["started_at", "id"], name="usage_started"),
            models.Index(fields=["status", "started_at"], name="usage_status_started"),
            models.Index(fields=["protocol", "started_at"], name="usage_protocol_started"),
            models.Index(fields=["agent", "started_at"], name="usage_agent_started"),
        ]
        constraints: ClassVar = [
            models.CheckConstraint(condition=Q(status__in=["ok", "error", "cancelled", "refused"]), name="usage_status")
        ]

    def __str__(self) -> str:
        return self.request_id

    @property
    def outcome(self) -> str:
        """How it ended, with the reason unless all went well, and how often where a row stands for several."""
        told = self.status if self.status == self.Status.OK or not self.reason else f"{self.status}: {self.reason}"
        return told if self.count == 1 else f"{told} × {self.count:,}"
