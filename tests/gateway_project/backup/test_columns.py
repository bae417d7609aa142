"""What of a database is in a backup."""

import pytest
from django.apps import apps

from gateway_project.backup.columns import KINDS, type_of
from gateway_project.backup.target import OURS, SOMEBODYS

MODELS = [model for model in apps.get_models(include_auto_created=True) if not model._meta.proxy]


@pytest.mark.parametrize("model", MODELS, ids=lambda model: model._meta.db_table)
def test_every_column_has_a_known_kind(model):
    assert [field.column for field in model._meta.local_concrete_fields if type_of(field) not in KINDS] == []


@pytest.mark.parametrize("model", MODELS, ids=lambda model: model._meta.db_table)
def test_primary_key_is_the_first_column(model):
    assert model._meta.local_concrete_fields[0].primary_key


def test_every_table_is_one_of_ours():
    names = [model._meta.db_table for model in MODELS]
    assert [name for name in names if not name.startswith(OURS)] == []
    assert set(SOMEBODYS) <= set(names)
