"""From which networks keys are used, and the alert when one comes from a network it did not use for a month.

The worker learns it from the rows that it files: nothing of it is done while a request is served.
"""

from __future__ import annotations

import ipaddress
from collections.abc import Iterable, Mapping
from datetime import datetime, timedelta
from functools import lru_cache
from typing import Final, NamedTuple

from django.db import connection, transaction

from accounts.alerts.raising import raise_alert
from accounts.alerts.words import NEW_NETWORK
from accounts.models import CLOSED, ApiKey, KeyNetwork, Usage
from gateway_project.lib.database.many_values import select

KNOWN_FOR: Final = timedelta(days=30)
MOST: Final = 256
"""Networks of a key; the one that was not seen for longest makes room."""
STEP: Final = timedelta(minutes=10)
"""So exact is `last_seen`: a busy key shall not cost a write with each batch."""
MOST_ROWS: Final = 5_000
"""From which the networks of a key are learnt that was used before there was this table."""


class Use(NamedTuple):
    """A use of a key: when, and the address it came from."""

    started_at: datetime
    client: str


class Span(NamedTuple):
    first: datetime
    last: datetime


# Of each row that is filed, and mostly of the same few addresses.
@lru_cache(4096)
def network_of(address: str) -> str:
    """The /24 or the /48 that an address is in, "" for what is no address."""
    try:
        # An address of IPv6 may have its zone behind a %, which is of one machine alone.
        ip = ipaddress.ip_address(address.partition("%")[0])
    except ValueError:
        return ""
    # A socket for both protocols reports clients of the old one as ::ffff:10.0.0.1.
    ip = getattr(ip, "ipv4_mapped", None) or ip
    return str(ipaddress.ip_network((ip, 24 if ip.version == 4 else 48), strict=False))


def note(uses: Mapping[int, Iterable[Use]]) -> None:
    """Take in uses of rows that were filed now, by key. Rows of before may come again; they change nothing."""
    seen = _without_known({key_id: spans for key_id, rows in uses.items() if (spans := _spans(rows))})
    if not seen:
        return
    networks = {network for spans in seen.values() for network in spans}
    # One look-up for the batch, by keys and networks apart: pairs that nobody asked about are few, and ignored.
    known = KeyNetwork.objects.filter(key__in=seen, network__in=networks)
    rows = {(row.key_id, row.network): row for row in known}
    for key_id, spans in seen.items():
        unknown = {name: span for name, span in spans.items() if _is_new(rows.get((key_id, name)), span)}
        for name in spans.keys() - unknown.keys():
            _move(rows[key_id, name], spans[name].last)
        if unknown:
            _meet(key_id, unknown)


def _without_known(seen: Mapping[int, Mapping[str, Span]]) -> dict[int, dict[str, Span]]:
    """Without those that were seen so lately that nothing is to be written: mostly all of them are.

    Asked past the ORM, which takes as long as to file a hundred rows.
    """
    if not seen:
        return {}
    # Of the latest use of all: then what is found is late enough for each of them.
    latest = max(span.last for spans in seen.values() for span in spans.values())
    condition = f"key_id IN ({', '.join(map(str, seen))}) AND last_seen > %s"
    known = set(
        select(
            "key_id, network", KeyNetwork._meta.db_table, "network",
            {network for spans in seen.values() for network in spans},
            condition, connection.ops.adapt_datetimefield_value(latest - STEP),
        )
    )  # fmt: skip
    left = {
        key_id: {name: span for name, span in spans.items() if (key_id, name) not in known}
        for key_id, spans in seen.items()
    }
    return {key_id: spans for key_id, spans in left.items() if spans}


def _spans(rows: Iterable[Usage | Use]) -> dict[str, Span]:
    spans: dict[str, Span] = {}
    for row in rows:
        if network := network_of(row.client):
            first, last = spans.get(network, (row.started_at, row.started_at))
            spans[network] = Span(min(first, row.started_at), max(last, row.started_at))
    return spans


def _is_new(row: KeyNetwork | None, span: Span) -> bool:
    return row is None or span.first - row.last_seen > KNOWN_FOR


def _move(row: KeyNetwork, last: datetime) -> None:
    if last - row.last_seen >= STEP:
        # Only forward: batches of several workers come in any order.
        KeyNetwork.objects.filter(pk=row.pk, last_seen__lt=last).update(last_seen=last)


def _meet(key_id: int, spans: Mapping[str, Span]) -> None:
    with transaction.atomic():
        # Locked: two batches may be filed at the same time.
        key = ApiKey.objects.select_for_update().filter(pk=key_id).first()
        if key is None:
            return
        # Anew, under the lock: the other batch may have written them.
        rows = {row.network: row for row in key.networks.all()}
        if not rows:
            rows = _learn(key, min(span.first for span in spans.values()))
        is_used = bool(rows)
        new = []
        for name, span in sorted(spans.items(), key=lambda each: each[1].first):
            if _is_new(rows.get(name), span):
                key.networks.update_or_create(network=name, defaults={"first_seen": span.first, "last_seen": span.last})
                if is_used:
                    new.append((name, span.first))
                is_used = True  # its very first use is no news
        _drop_oldest(key)
        if new:
            raise_alert(NEW_NETWORK, [name for name, _ in new], new[0][1], key=key)


def _learn(key: ApiKey, before: datetime) -> dict[str, KeyNetwork]:
    """The networks of its latest rows: it may have been used by an earlier version."""
    rows = Usage.objects.filter(api_key=key, started_at__lt=before, started_at__gte=before - KNOWN_FOR)
    rows = rows.exclude(reason__in=CLOSED).order_by("-started_at").only("client", "started_at")[:MOST_ROWS]
    found = [KeyNetwork(key=key, network=name, first_seen=span.first, last_seen=span.last)
             for name, span in _spans(rows).items()]  # fmt: skip
    return {row.network: row for row in KeyNetwork.objects.bulk_create(found)}


def _drop_oldest(key: ApiKey) -> None:
    oldest = key.networks.order_by("-last_seen", "-pk").values_list("pk", flat=True)[MOST:]
    if ids := list(oldest):
        KeyNetwork.objects.filter(pk__in=ids).delete()
