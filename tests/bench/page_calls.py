"""Asks each page of a gateway several times, as a program in its own environment: `page_calls.py TIMES` prints JSON.

The pages are Django's, answered in this process; instances and sessions are those of the gateway that runs beside it.
"""

import json
import os
import statistics
import sys
import time
from datetime import timedelta
from pathlib import Path

CALLS = 5
SECRET = "bench-key-of-pages-0123456789abcdef"
ADDITIONS = 20_000_000
USUAL = 1.2
"""Seconds that ADDITIONS take on a usual machine."""
SHARE = 20


def additions(times):
    """Seconds of CPU that ADDITIONS would take now: how slow this machine is, and how busy."""
    share = SHARE * CALLS // times
    began, all_ = time.process_time(), 0
    for number in range(ADDITIONS // share):
        all_ += number
    return (time.process_time() - began) * share


def holder():
    """The key with the most turns, with a secret that we know."""
    from django.conf import settings
    from django.db.models import Sum

    from accounts.models import ApiKey, UsageTotal

    used = UsageTotal.objects.filter(level="key").values("api_key_id").annotate(all=Sum("turns")).order_by("-all")
    key = ApiKey.objects.get(pk=used.first()["api_key_id"])
    key.adopt(SECRET, settings.KEY_PEPPER)
    key.save()
    return key


def pages(key):
    """Title to address."""
    from django.urls import reverse
    from django.utils import timezone

    from accounts.models import Usage

    since = f"from={timezone.now() - timedelta(days=60):%Y-%m-%d}"
    request_id = Usage.objects.order_by("-started_at").values_list("request_id", flat=True)[5]
    three = f"team={key.team_id}&status=ok&model=gpt-5-codex"
    return {
        "/usage/, 24 hours": reverse("usage"),
        "/usage/, 30 days": f"{reverse('usage')}?range=30d",
        "/usage/, 60 days": f"{reverse('usage')}?{since}",
        "/usage/, 60 days, a status": f"{reverse('usage')}?{since}&status=ok",
        "/usage/, 60 days, a team, a status, a model": f"{reverse('usage')}?{since}&{three}",
        "/usage/rows/": reverse("usage_rows"),
        "/usage/rows/, 60 days, three filters": f"{reverse('usage_rows')}?{since}&{three}",
        "/usage/r/…": reverse("usage_request", args=[request_id]),
        "/usage/export.csv, first part": reverse("usage_export_csv"),
        "/usage/showback/": reverse("showback"),
        "/me/": reverse("me"),
        "overview": reverse("admin:index"),
        "keys": reverse("admin:accounts_apikey_changelist"),
        "a key": reverse("admin:accounts_apikey_change", args=[key.pk]),
        "teams": reverse("admin:accounts_team_changelist"),
        "usage in the console": reverse("admin:accounts_usage_changelist"),
        "audit": reverse("admin:accounts_auditentry_changelist"),
    }


class Spent:
    """CPU seconds of this process, and of PostgreSQL for it; 0 of SQLite, which is in this process."""

    def __init__(self, connection):
        self.backend = self.server = None
        if connection.vendor == "postgresql":
            connection.ensure_connection()  # exports give it back to the pool
            self.backend = connection.connection.info.backend_pid
            self.server = int(Path(f"/proc/{self.backend}/stat").read_text().rpartition(")")[2].split()[1])

    def seconds(self):
        from tests.bench import processes

        if self.backend is None:
            return time.process_time(), 0.0
        # Helpers of a parallel query are children of the server, and end with it.
        fields = Path(f"/proc/{self.server}/stat").read_text().rpartition(")")[2].split()
        return time.process_time(), processes.cpu_seconds(self.backend) + sum(map(int, fields[13:15])) / processes.TICKS


async def answered(client, address):
    """Ask for a page, or for the first part of a file."""
    answer = await client.get(address)
    if answer.status_code != 200:
        raise SystemExit(f"{address} was answered with {answer.status_code}")
    if answer.streaming:
        parts = aiter(answer.streaming_content)
        await anext(parts)
        await parts.aclose()


def measured(client, address, times):
    """The figures of one page, in milliseconds: medians, and how many queries it needs."""
    from asgiref.sync import async_to_sync
    from django.db import connection
    from django.test.utils import CaptureQueriesContext

    # Its threads are this one, and so is the connection that it has.
    ask = async_to_sync(answered)
    ask(client, address)
    runs, spent = [], Spent(connection)
    for _ in range(times):
        before, at = spent.seconds(), time.monotonic()
        ask(client, address)
        after = spent.seconds()
        runs.append([time.monotonic() - at, *(b - a for a, b in zip(before, after, strict=True))])
    with CaptureQueriesContext(connection) as queries:
        ask(client, address)
    wall, web, database = (statistics.median(each) * 1000 for each in zip(*runs, strict=True))
    return {"wall": wall, "web": web, "database": database, "queries": len(queries)}


async def drained(client, address):
    """What a whole file is, and the most memory above what there was before it, none of it being kept."""
    from tests.bench import processes

    pid, began, lines, size = os.getpid(), time.monotonic(), 0, 0
    processes.forget_peak(pid)
    before = processes.memory(pid)[0]
    answer = await client.get(address)
    async for part in answer.streaming_content:
        lines += part.count(b"\n")
        size += len(part)
    growth = processes.peak_bytes(pid) - before
    return {"lines": lines, "bytes": size, "growth": growth, "wall": time.monotonic() - began}


def clients():
    """(one of a superuser, one of the holder of a key); and what the pages are about."""
    from django.contrib.auth import get_user_model
    from django.test import AsyncClient, Client
    from django.urls import reverse

    key, users = holder(), get_user_model().objects
    admin = users.filter(is_superuser=True).first() or users.create_superuser("bench", "bench@example.org", SECRET)
    signed_in, holding = Client(), Client()
    signed_in.force_login(admin)
    holding.post(reverse("me"), {"key": SECRET})
    found = AsyncClient()
    found.cookies = signed_in.cookies
    found.cookies.update(holding.cookies)
    return key, found


def main(times):
    from asgiref.sync import async_to_sync
    from django.conf import settings
    from django.urls import reverse

    settings.ALLOWED_HOSTS = ["testserver"]
    export = reverse("usage_export_csv")
    key, client = clients()
    additions(times)
    slow, figures = [], {}
    for title, address in pages(key).items():
        slow.append(additions(times))
        figures[title] = measured(client, address, times)
    whole = async_to_sync(drained)(client, export)
    print(json.dumps({"additions": statistics.median(slow), "pages": figures, "export": whole}))


if __name__ == "__main__":
    import django

    sys.path[0] = ""  # the gateway's checkout, not the folder of this file
    django.setup()
    main(int(sys.argv[1]))
