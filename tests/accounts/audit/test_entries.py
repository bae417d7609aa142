from datetime import timedelta

import pytest
from django.db import IntegrityError, transaction
from django.utils import timezone

from accounts.audit.context import Source, acting
from accounts.audit.entries import record
from accounts.models import AuditEntry
from accounts.models.audit import AppendOnlyError

pytestmark = pytest.mark.django_db


@pytest.fixture
def entry():
    record("forgotten", "session", "s-1", "session 1", {"instance": ["w1", None]})
    return AuditEntry.objects.get()


def test_rows_are_neither_changed_nor_deleted(entry):
    entry.actor = "somebody else"
    every = AuditEntry.objects.all()
    for change in (
        entry.save,
        entry.delete,
        every.delete,
        lambda: every.update(actor="x"),
        lambda: every.bulk_update([entry], ["actor"]),
        lambda: AuditEntry.objects.update_or_create(pk=entry.pk, defaults={"actor": "x"}),
    ):
        with pytest.raises(AppendOnlyError):
            change()
    with pytest.raises(IntegrityError), transaction.atomic():
        AuditEntry(pk=entry.pk, actor="x").save()
    [found] = AuditEntry.objects.all()
    assert found.actor != "x"
    assert found.changes == {"instance": ["w1", None]}


def test_retention_takes_old_rows_in_pieces():
    AuditEntry.objects.bulk_create(
        AuditEntry(at=timezone.now() - timedelta(days=days), actor="ann", action="changed") for days in (500, 450, 1)
    )
    before = timezone.now() - timedelta(days=400)
    assert [AuditEntry.objects.prune(before, most=1) for _ in range(3)] == [1, 1, 0]
    assert AuditEntry.objects.count() == 1


def test_actor_is_asked_when_the_row_is_written():
    names = ["nobody yet"]
    with acting(Source.REST, lambda: names[0], "10.0.0.1"):
        names[0] = "ann" * 100
        record("forgotten", "session")
    row = AuditEntry.objects.get()
    assert (row.actor, row.source, row.address) == (("ann" * 100)[:150], "rest", "10.0.0.1")
