"""What a key may do with a request: the models it may ask for, and its limits."""

from __future__ import annotations

import msgspec

from accounts.keys.keyring import Caller
from accounts.limits.admission import LimitExceeded, Ticket, may_use
from bridge.chat.errors import Forbidden, RateLimited
from bridge.chat.request import ChatRequest
from bridge.chat.tokens import estimate_messages
from bridge.http.streaming import HttpConsumer

MOST_TOLD = 300  # characters of a list of models
LONGEST_TOLD = 100


async def admit(consumer: HttpConsumer, caller: Caller, request: ChatRequest | None = None) -> Ticket:
    """A place under the key's limits; release it when the turn has ended. Raise RateLimited."""
    limits, prompt, longest = consumer.runtime.limits, 0, None
    if caller.tpm and request is not None:  # else nobody asks how long it is
        calibration = consumer.runtime.engine.calibration.input
        prompt = calibration.apply(estimate_messages(request.messages, request.tools))
        longest = request.max_tokens
    try:
        return await limits.admit(caller, consumer.id, prompt, longest)
    except LimitExceeded as exc:
        raise RateLimited(
            f"The limit of this API key is reached: {exc.limit} of {exc.allowed}. Try again later.",
            retry_after=exc.retry_after,
            reason=exc.limit,
            allowed=exc.allowed,
            value=exc.value,
        ) from None


async def admit_count(consumer: HttpConsumer, caller: Caller, model: str = "") -> None:
    """Let a request pass that asks no service, such as one that counts tokens: a model it may use, within `rpm`.

    It takes no tokens and no place, so the other limits do not stop it. Raise Forbidden or RateLimited.
    """
    if model:
        consumer.model_asked = model
        require_model(consumer, caller, model)
    await admit(consumer, msgspec.structs.replace(caller, tpm=0, concurrency=0))


def require_model(consumer: HttpConsumer, caller: Caller, model: str) -> None:
    """Raise Forbidden unless the key may use the model, by the name asked for or by what it means here."""
    if caller.models is None or may_use(caller, *consumer.runtime.engine.routes.names_of(model)):
        return
    asked = model if len(model) <= LONGEST_TOLD else f"{model[:LONGEST_TOLD]}…"
    raise Forbidden(
        f"This API key may not use the model '{asked}'. It may use: {_told(caller.models)}.",
        param=("model",),
        code="model_not_allowed",
        reason="model",
    )


def _told(models: frozenset[str]) -> str:
    told = ", ".join(sorted(models))
    return told if len(told) <= MOST_TOLD else f"{told[:MOST_TOLD].rpartition(',')[0]}, …"
