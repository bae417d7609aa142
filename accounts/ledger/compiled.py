"""Sums whose SQL is made once: Django makes that of fifty sums anew for each query, which takes longer than to read."""

from __future__ import annotations

from typing import Any

from django.db.models import Aggregate, BigIntegerField, Expression, Model
from django.db.models.sql import Query


class Compiled(Expression):
    """A sum of the model's own columns, for queries of the model that are no part of another query."""

    contains_aggregate = True

    def __init__(self, model: type[Model], aggregate: Aggregate) -> None:
        super().__init__(output_field=BigIntegerField())
        self._model, self._aggregate = model, aggregate
        self._by_vendor: dict[str, tuple[str, tuple[Any, ...]]] = {}
        # What Django takes where it knows, without asking the database, that there are no rows.
        self.empty_result_set_value = aggregate.empty_result_set_value

    # By identity: Django would compare all that they were made of, for each of fifty sums and each query.
    def __eq__(self, other: object) -> bool:
        return self is other

    def __hash__(self) -> int:
        return id(self)

    def resolve_expression(self, *_: Any, **__: Any) -> Compiled:
        return self

    def get_group_by_cols(self) -> list[Any]:
        return []

    def as_sql(self, compiler: Any, connection: Any, **_: Any) -> Any:
        if connection.vendor not in self._by_vendor:
            # In a query of its own the columns are named by their table, and so they are wherever the model is queried
            # directly.
            query = Query(self._model)
            resolved = self._aggregate.resolve_expression(query)
            sql, parameters = query.get_compiler(connection=connection).compile(resolved)
            self._by_vendor[connection.vendor] = sql, tuple(parameters)
        return self._by_vendor[connection.vendor]


def compiled(model: type[Model], aggregates: dict[str, Aggregate]) -> dict[str, Compiled]:
    return {name: Compiled(model, aggregate) for name, aggregate in aggregates.items()}
