"""A process that changes the rows of a day, and makes its columns anew where it is told to."""

import sys
import tempfile
from datetime import datetime, timedelta


def change(day, what, is_made):
    from accounts.ledger import days, hours
    from accounts.models import Usage
    from tests.accounts.ledger.test_hours import file
    from tests.accounts.rows import row

    if what == "late":
        with tempfile.TemporaryDirectory() as spool:
            file([row("late", started_at=day.timestamp() + 60, session="reused")], spool)
    else:
        Usage.objects.filter(started_at__gte=day, started_at__lt=day + timedelta(days=1)).update(prompt_tokens=1_000)
        hours.rebuild(day, day + timedelta(days=1))
    if is_made:
        days.make_missing(day + timedelta(days=5))


if __name__ == "__main__":
    import django

    django.setup()
    change(datetime.fromisoformat(sys.argv[1]), sys.argv[2], sys.argv[3] == "made")
