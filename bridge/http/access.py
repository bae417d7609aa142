"""Who may call: keys from the headers to callers, and tokens of operators."""

from __future__ import annotations

import hmac
import time

from django.db import Error

from accounts.keys.keyring import Caller, Standing, TooManyUnknown
from bridge.bounds.patience import wait_or_gone
from bridge.chat.errors import GatewayError, Unauthenticated, Unavailable
from bridge.http.streaming import HttpConsumer


async def caller_of(consumer: HttpConsumer) -> Caller:
    """The holder of the key in `x-api-key` or `Authorization`; of two different keys either will do.

    Raise Unauthenticated, in the same words whatever is wrong with the key; in a flood of those, after a while.
    """
    trouble: GatewayError | None = None
    unchecked: GatewayError | None = None  # a key that may be good goes before one that is not
    for secret in (consumer.bearer(), consumer.single(b"x-api-key").strip().decode("latin-1")):
        if not secret:
            continue
        keys = consumer.runtime.keys
        try:
            caller = await keys.authenticate(secret)
        except Error:
            unchecked = Unavailable("Keys cannot be checked right now.", retry_after=2, reason="keys_unavailable")
            continue
        except TooManyUnknown:
            words = "Too many unknown API keys are being checked right now."
            unchecked = Unavailable(words, retry_after=1, reason="too_many_unknown_keys")
            continue
        if caller is not None:
            consumer.known = caller
            return caller
        closed, standing = keys.refused(secret)
        if consumer.known is None:  # of two keys that open nothing, the known one is told to the books
            consumer.known, trouble = closed, key_closed(standing)
    if wait := consumer.runtime.strangers.wait(time.monotonic()):
        await wait_or_gone(consumer.receive, wait)
    raise unchecked or trouble or Unauthenticated("The API key is missing or not valid.", reason="no_key")


def key_closed(standing: Standing) -> Unauthenticated:
    """The refusal of a key that opens nothing: in the same words whatever is wrong with it; the books know more."""
    reason = "unknown_key" if standing == "unknown" else standing
    return Unauthenticated("The API key is missing or not valid.", reason=reason)


def bears(consumer: HttpConsumer, token: str) -> bool:
    """The request carries this token of the operators; an empty one opens nothing."""
    return bool(token) and hmac.compare_digest(consumer.bearer().encode(), token.encode())
