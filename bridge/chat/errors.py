"""
Every way a turn can go wrong. Each class is a kind; a wire turns a kind into its status, type and code.

GatewayError
├── InvalidRequest 400      what the client sent; `param` names the field
│   ├── ContentFiltered     the service refused the content (finish 406, 601)
│   ├── BadImage            an image that cannot be shown to a model
│   ├── ContextFull         the prompt is longer than the model's context
│   ├── CrashingPrompt      the service exits over it
│   ├── Cancelled           the client has cancelled it elsewhere
│   ├── UnsupportedEncoding 415
│   └── TooLarge 413
├── Unauthenticated 401 · Forbidden 403 · NotFound 404 · MethodNotAllowed 405
│   └── NoPlan (Forbidden)  the plan of the account that was asked is used up, or it has none
├── RateLimited 429         the service's own limit (finish 429)
│   ├── LimitReached        a limit of the key or its team
│   ├── QuotaUsedUp         ... that lasts for longer than a minute
│   └── CrashingKey         the service exits over too many of its prompts
├── Overloaded 429          no place: queue full or waited too long (Anthropic: 529)
├── Unavailable 503         no instance is ready
│   └── LoggedOut           the one that was asked has lost its login
├── UpstreamFailed 502      the service failed the turn
│   ├── ConnectionLost      ... by going away
│   └── UpstreamTimeout 504 ... by silence
├── SlowClient 499          the client reads slower than the buffer allows
└── InternalError 500       our bug
"""

from __future__ import annotations

from typing import ClassVar, Final

CRASHING_PROMPT: Final = "crashing_prompt"
CRASHING_KEY: Final = "crashing_prompts"
"""Codes and reasons of two errors below."""
NO_QUOTA: Final = "insufficient_quota"
"""Code and reason of NoPlan."""
LOGGED_OUT: Final = "logged_out"
"""Reason of LoggedOut."""


class GatewayError(Exception):
    """
    `message` says what to do next and holds no secret. `retry_after` is whole seconds or None.

    `param` is the path of the field as a tuple of names and indexes; each format spells it its own way.
    `details` are for programs, and the same in all formats.

    The rest is for the books: `reason` where it says more than the kind, and of a limit that was reached whose it is
    (`limit_scope`), its size (`allowed`) and what it stood at (`value`).
    """

    status: ClassVar[int] = 500
    kind: ClassVar[str] = "internal"
    retryable: ClassVar[bool] = True

    def __init__(
        self,
        message: str,
        *,
        param: tuple[str | int, ...] = (),
        code: str | None = None,
        retry_after: int | None = None,
        details: dict[str, object] | None = None,
        reason: str = "",
        limit_scope: str = "",
        allowed: int | None = None,
        value: int | None = None,
    ) -> None:
        super().__init__(message)
        self.message = message
        self.param = param
        self.code = code
        self.retry_after = retry_after
        self.details = details
        # `reason` is a column of usage rows, `kind` decides status and type for the client; one kind may have several
        # reasons.
        self.reason = reason or self.kind
        self.limit_scope = limit_scope
        self.allowed = allowed
        self.value = value


class InvalidRequest(GatewayError):
    """The body is not what the format asks for. `code` may be OpenAI's, such as `missing_required_parameter`."""

    status = 400
    kind = "invalid_request"
    # The body will not get better: SDKs retry what looks retryable (FORMATS 7.2).
    retryable = False


class ContentFiltered(InvalidRequest):
    kind = "content_filter"


class BadImage(InvalidRequest):
    """What was sent as an image cannot be shown to a model. `code` is OpenAI's, such as `image_parse_error`.

    Agents act on its words; each format has its own (FORMATS 7.4).
    """


class ContextFull(InvalidRequest):
    """The prompt is longer than the model's context. `requested` and `most` are tokens; 0 is unknown.

    Agents shorten the conversation when they read these words; each format has its own.
    """

    kind = "context_full"

    def __init__(self, requested: int = 0, most: int = 0) -> None:
        # Agents compare the code or search the message, so both are OpenAI's own, to the letter.
        super().__init__(_context_message(requested, most), code="context_length_exceeded")
        self.requested = requested
        self.most = most


class CrashingPrompt(InvalidRequest):
    """The service exits over this prompt: it is not asked again for a while."""

    text = "The Lingma service exits when it is asked this. The request is not tried again within an hour; change it."

    def __init__(self, message: str = text) -> None:
        # A 400 and no 5xx, because agents retry those, and each retry would take the service down again.
        super().__init__(message, code=CRASHING_PROMPT, reason=CRASHING_PROMPT)


class Cancelled(InvalidRequest):
    """The turn was ended by another request of its key."""

    def __init__(self, message: str = "The response was cancelled.") -> None:
        super().__init__(message, code="cancelled", reason="cancelled")


class UnsupportedEncoding(InvalidRequest):
    """A `Content-Encoding` that is not read here; `Accept-Encoding` of the answer lists those that are."""

    status = 415
    kind = "unsupported_encoding"


class TooLarge(InvalidRequest):
    status = 413
    kind = "too_large"


class Unauthenticated(GatewayError):
    """No key, or one that is unknown, expired or revoked: always the same words."""

    status = 401
    kind = "authentication"
    retryable = False


class Forbidden(GatewayError):
    """The key, or the login upstream, may not do this."""

    status = 403
    kind = "permission"
    retryable = False


class NoPlan(Forbidden):
    """The plan of the account that was asked is used up, or it has none; that of another login may be good.

    `of_login`: the next turn of the login will be told the same. Words alone may be about one model, or be the
    client's own, quoted.
    """

    def __init__(
        self, message: str = "The plan of the Lingma account is used up, or it has none.", *, of_login: bool = True
    ) -> None:
        super().__init__(message, code=NO_QUOTA, reason=NO_QUOTA)
        self.of_login = of_login


class NotFound(GatewayError):
    """No such path or model. `code` `model_not_found` for models."""

    status = 404
    kind = "not_found"
    retryable = False


class MethodNotAllowed(GatewayError):
    status = 405
    kind = "method_not_allowed"
    retryable = False


class RateLimited(GatewayError):
    """A limit of the key, or the service's own."""

    status = 429
    kind = "rate_limited"


class LimitReached(RateLimited):
    """A limit of the key or of its team, which is free again within a minute."""


class QuotaUsedUp(RateLimited):
    """A limit of the key or of its team, for so long that nobody should wait: another try would be refused too."""

    retryable = False


class CrashingKey(RateLimited):
    """The service has exited over several prompts of this key: none is asked for some minutes."""

    text = (
        "The Lingma service has exited over several requests of this key within ten minutes. "
        "Its requests are refused for some minutes; change what they have in common."
    )

    def __init__(self, message: str = text, *, retry_after: int | None = None) -> None:
        # 429 with Retry-After, because waiting does help here: the block on a key ends by itself.
        super().__init__(message, code=CRASHING_KEY, retry_after=retry_after, reason=CRASHING_KEY)


class Overloaded(GatewayError):
    """No place: the queue is full, or the turn waited too long in it."""

    status = 429
    kind = "overloaded"


class Unavailable(GatewayError):
    """No instance can take a turn."""

    status = 503
    kind = "unavailable"


class LoggedOut(Unavailable):
    """The instance that was asked has lost its login; another one may have its own."""

    def __init__(self, message: str, *, code: str | None = None) -> None:
        # Not `unavailable`: there was an instance, and who looks for the cause has to look at its login.
        super().__init__(message, code=code, reason=LOGGED_OUT)


class UpstreamFailed(GatewayError):
    status = 502
    kind = "upstream"


class ConnectionLost(UpstreamFailed):
    """The connection to the instance broke in mid-turn."""


class UpstreamTimeout(UpstreamFailed):
    """The service was silent for too long."""

    status = 504
    kind = "timeout"


class SlowClient(GatewayError):
    """The client reads more slowly than the buffer allows; nobody is left to answer."""

    # Nginx's code for a client that closed; it is only logged, nobody receives it.
    status = 499
    kind = "slow_client"


class InternalError(GatewayError):
    """A bug of the gateway."""


def _context_message(requested: int, most: int) -> str:
    if requested and most:
        text = (
            f"This model's maximum context length is {most} tokens. "
            f"However, your messages resulted in {requested} tokens."
        )
    elif most:
        text = f"This model's maximum context length is {most} tokens, which your messages exceed."
    else:
        text = "Your input exceeds the context window of this model: its maximum context length is used up."
    return f"{text} Please reduce the length of the messages."
