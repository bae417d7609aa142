"""The limits of one key or of one team, as they were read from its row."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Literal

import msgspec
from django.utils.timezone import get_default_timezone_name

from accounts.models.policy import LIMITS, Policy, names_in

Scope = Literal["key", "team"]
# By their names, so that a further limit of tokens in LIMITS is found here by itself.
_TOKENS = tuple(place for place, name in enumerate(LIMITS) if name.startswith(("tpm", "tokens")))


class LimitSet(msgspec.Struct, frozen=True):
    """How much a key or a team may use: `sizes` in the order of LIMITS, 0 for no limit.

    Those in `shadow` are counted and never enforced. Days, weeks and months are those of `time_zone`.
    """

    scope: Scope
    id: int
    sizes: tuple[int, ...]
    shadow: frozenset[str] = frozenset()
    time_zone: str = "UTC"

    @classmethod
    def of(
        cls, scope: Scope, id_: int, *, shadow: Iterable[str] = (), time_zone: str = "UTC", **sizes: int
    ) -> LimitSet:
        """With the limits that are named; the others are 0."""
        return cls(scope, id_, tuple(sizes.get(name, 0) for name in LIMITS), frozenset(shadow), time_zone)

    @property
    def counts_tokens(self) -> bool:
        return any(self.sizes[place] for place in _TOKENS)


def limit_set(scope: Scope, policy: Policy, time_zone: str = "") -> LimitSet | None:
    """The limits of a row, None when it has none; without a time zone in that of the gateway."""
    sizes = tuple(getattr(policy, name) for name in LIMITS)
    if not any(sizes):
        return None
    zone = time_zone or get_default_timezone_name()
    return LimitSet(scope, policy.pk, sizes, frozenset(names_in(policy.shadow)), zone)
