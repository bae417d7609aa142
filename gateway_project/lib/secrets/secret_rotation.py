"""Every secret of the database under the first of SECRET_KEYS, so that the others can be thrown away."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any, Final

from django.apps import apps
from django.db import models, transaction

from gateway_project.lib.secrets.secrets_at_rest import Secret, SecretField, SecretUnreadableError, box

BATCH: Final = 100
"""Rows: a secret may have some hundred KiB."""

Column = tuple[Any, str]
"""A model and the name of its field."""


@dataclass(slots=True)
class Rotated:
    """What became of the secrets of one column."""

    renewed: int = 0
    current: int = 0
    """Under the first key already."""
    unreadable: list[Any] = field(default_factory=list)
    """Primary keys of their rows."""


def columns() -> Iterator[Column]:
    for model in apps.get_models():
        yield from ((model, each.name) for each in model._meta.concrete_fields if isinstance(each, SecretField))


def rotate(model: Any, name: str) -> Rotated:
    """Encrypt one column again, in batches. One that was broken off goes on where it was, for it leaves out what is
    done; rows that change meanwhile are left as they are, for whatever is new is under the first key.
    """
    rotated, last = Rotated(), None
    rows = model._base_manager.exclude(**{name: None}).order_by("pk")
    while batch := list((rows if last is None else rows.filter(pk__gt=last)).values_list("pk", name)[:BATCH]):
        last = batch[-1][0]
        with transaction.atomic():
            for key, secret in batch:
                _rotate(rows, name, key, secret, rotated)
    return rotated


def _rotate(rows: models.QuerySet[Any], name: str, key: Any, secret: Secret, rotated: Rotated) -> None:
    try:
        token = box().renewed(secret.token)
    except SecretUnreadableError:
        rotated.unreadable.append(key)
        return
    if token is None:
        rotated.current += 1
    else:
        rotated.renewed += rows.filter(pk=key, **{name: secret}).update(**{name: Secret(token)})
