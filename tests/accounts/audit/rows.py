"""What the audit log has got since a moment."""

from contextlib import contextmanager

from accounts.models import AuditEntry


class Rows(list):
    @property
    def names(self):
        return [(row.action, row.object_type) for row in self]


@contextmanager
def new_rows():
    """A list that is filled, oldest first, when the block ends."""
    rows = Rows()
    last = AuditEntry.objects.order_by("-id").values_list("id", flat=True).first() or 0
    yield rows
    rows.extend(AuditEntry.objects.filter(id__gt=last).order_by("id"))
