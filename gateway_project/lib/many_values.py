"""A filter by hundreds of texts: as one value of the statement, instead of one for each."""

from __future__ import annotations

import json
from collections.abc import Iterable

from django.db import connection
from django.db.models.expressions import RawSQL


def any_of(texts: Iterable[str]) -> RawSQL:
    """What stands behind `__in`. Django takes 0.2 µs a text apart, and SQLite takes 1,000 in a statement of some."""
    if connection.vendor == "postgresql":
        return RawSQL("SELECT unnest(%s::text[])", [list(texts)])
    return RawSQL("SELECT value FROM json_each(%s)", [json.dumps(list(texts))])
