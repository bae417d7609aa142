"""Rows that are made with their first change, also where two make one at once."""

from __future__ import annotations

from collections.abc import Callable
from typing import TypeVar

from django.db import IntegrityError, models, transaction

Row = TypeVar("Row", bound=models.Model)


def changed(model: type[Row], change: Callable[[Row], object], **key: object) -> Row:
    """The row of that key, locked, changed and saved; made where there is none. Within a transaction.

    Made and changed at once, so an action is one row of the audit log.
    """
    rows = model._default_manager.select_for_update().filter(**key)
    row = rows.first()
    if row is None:
        try:
            with transaction.atomic():
                return _saved(model(**key), change, is_new=True)
        except IntegrityError:
            # Another transaction has made it meanwhile. Both changes count, and this one is the later.
            row = rows.first()
            if row is None:
                raise
    return _saved(row, change, is_new=False)


def _saved(row: Row, change: Callable[[Row], object], *, is_new: bool) -> Row:
    change(row)
    # An insert and no update: that would find the row of another transaction, and undo what it has changed there.
    row.save(force_insert=is_new)
    return row
