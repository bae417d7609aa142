"""The worker's side: contents out of Redis into their table, in batches."""

from __future__ import annotations

import logging
from collections.abc import Mapping
from datetime import UTC, datetime, timedelta
from typing import Any, Final

import redis
from django.db import transaction
from django.utils import timezone

from accounts.models import ApiKey, UsageContent
from gateway_project.lib.redis import redis_keys
from gateway_project.lib.secrets.secrets_at_rest import Secret

log = logging.getLogger(__name__)

# Contents are a hundred times as large as rows: some megabytes at once.
BATCH: Final = 20
LONGEST_ID: Final = UsageContent._meta.get_field("request_id").max_length

# Two that take the same entries out subtract their bytes once. KEYS the stream, its bytes; ARGV ids.
# The stream bounds itself by a count of its bytes, for XLEN counts entries of any size.
_REMOVE: Final = """
for _, id in ipairs(ARGV) do
    local entry = redis.call('XRANGE', KEYS[1], id, id)[1]
    if entry then
        redis.call('XDEL', KEYS[1], id)
        for place = 1, #entry[2], 2 do
            if entry[2][place] == 'content' then redis.call('DECRBY', KEYS[2], #entry[2][place + 1]) end
        end
    end
end
if redis.call('XLEN', KEYS[1]) == 0 then redis.call('DEL', KEYS[1], KEYS[2]) end
"""


def file(client: redis.Redis, days: int) -> int:
    """Move what waits into the table; how many contents were filed. Safe to run twice and at the same time.

    `days` is how long contents are kept; what is older, or of a key that is gone, is dropped. Raise when Redis or the
    database is away.
    """
    filed = 0
    while entries := client.xrange(redis_keys.CONTENT, count=BATCH):
        found: Any = entries
        contents = [each for _, fields in found if (each := _read(fields)) is not None]
        if len(contents) < len(found):
            log.error("%d logged contents cannot be read and were dropped", len(found) - len(contents))
        filed += _insert(contents, timezone.now() - timedelta(days=days))
        ids = [entry for entry, _ in found]
        client.eval(_REMOVE, 2, redis_keys.CONTENT, redis_keys.CONTENT_BYTES, *ids)
    return filed


def _read(fields: Mapping[bytes, bytes]) -> UsageContent | None:
    try:
        return UsageContent(
            request_id=fields[b"request"].decode()[:LONGEST_ID],
            api_key_id=int(fields[b"key"]),
            started_at=datetime.fromtimestamp(float(fields[b"at"]), UTC),
            content=Secret(fields[b"content"]),
        )
    except (KeyError, ValueError, OverflowError):
        return None


def _insert(contents: list[UsageContent], oldest: datetime) -> int:
    with transaction.atomic():
        # Locked: contents that are deleted meanwhile, by their key, must not come back here.
        keys = ApiKey.objects.filter(pk__in={each.api_key_id for each in contents}).order_by()
        # No lock against rows that refer to the key: usage is filed meanwhile.
        since = dict(keys.select_for_update(no_key=True).values_list("pk", "content_from"))
        kept = [
            each
            for each in contents
            if each.api_key_id in since and each.started_at >= max(oldest, since[each.api_key_id] or oldest)
        ]
        # Conflicts are entries that were filed before a worker died.
        UsageContent.objects.bulk_create(kept, ignore_conflicts=True)
    return len(kept)
