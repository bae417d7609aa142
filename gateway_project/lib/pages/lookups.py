"""Which columns the address of a list may ask about."""

from __future__ import annotations

from typing import Any, ClassVar


class ClosedLookups:
    """A mixin for a ModelAdmin: only what its filters offer, and what links to it name (`linked_by`).

    Django's own answers for every column of the table, so a user who may only view could find out a digest letter by
    letter, with `?digest__startswith=`.
    """

    linked_by: ClassVar[tuple[str, ...]] = ()

    def lookup_allowed(self, lookup: str, value: Any, request: Any = None) -> bool:
        """Whether `lookup`, such as `state__exact`, may be used."""
        page: Any = self
        offered = {_asks_about(each) for each in page.list_filter} | {*self.linked_by, "id", "pk"}
        allowed: bool = super().lookup_allowed(lookup, value, request)  # type: ignore[misc]  # a ModelAdmin's
        # The first part is the column; Django's own check has judged the rest.
        return allowed and lookup.partition("__")[0] in offered


def _asks_about(each: Any) -> str:
    """The column of one entry of `list_filter`, or the parameter of one that has its own."""
    if isinstance(each, type):
        return str(getattr(each, "parameter_name", ""))
    return (each if isinstance(each, str) else str(each[0])).partition("__")[0]
