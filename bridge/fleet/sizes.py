"""How many instances each web process has: ordered by operators, within what the settings allow."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from typing import TYPE_CHECKING, Final

from django.db import transaction
from django.utils.translation import gettext

from bridge.models import PoolSize
from bridge.models.pool_size import EVERY_PROCESS
from gateway_project.lib.database.first_change import changed

if TYPE_CHECKING:
    from gateway_project.env import Environment

NAME: Final = re.compile(r"(?:.*-)?w(\d{1,4})-i(\d{1,4})")


class BadSize(Exception):
    """It cannot be that many; the message says why."""


def read_sizes() -> dict[int, int]:
    """By the number of a web process; EVERY_PROCESS is for the others. Raise django.db.Error."""
    return dict(PoolSize.objects.values_list("process", "size"))


def size_of(process: int, sizes: Mapping[int, int], env: Environment) -> int:
    """How many instances it is to have."""
    if env.lingma_attach_urls:
        return len(env.lingma_attach_urls)
    return min(sizes.get(process) or sizes.get(EVERY_PROCESS) or env.lingma_instances, env.most_instances)


def order(size: int, process: int, env: Environment) -> None:
    """Have that web process have so many instances, or all of them; within two seconds. Raise BadSize."""
    if env.lingma_attach_urls:
        raise BadSize(gettext("Services that are attached to are as many as LINGMA_ATTACH_URLS names."))
    if not 1 <= size <= env.most_instances:
        raise BadSize(gettext("From 1 to %(most)d instances (LINGMA_INSTANCES_MAX).") % {"most": env.most_instances})
    if not 0 <= process <= env.web_processes:
        known = {"process": process, "most": env.web_processes}
        raise BadSize(gettext("There is no web process %(process)d. There are 1 to %(most)d.") % known)
    with transaction.atomic():
        if process == EVERY_PROCESS:
            for row in PoolSize.objects.select_for_update().exclude(process=EVERY_PROCESS):
                row.delete()
        changed(PoolSize, lambda row: setattr(row, "size", size), process=process)


def taken_away(names: Iterable[str]) -> set[str]:
    """Those beyond the number that somebody has ordered: nobody misses them."""
    found = {name: match for name in names if (match := NAME.fullmatch(name))}
    if not found:
        return set()
    sizes = read_sizes()

    def most(process: int) -> int | None:
        return sizes.get(process) or sizes.get(EVERY_PROCESS)

    return {name for name, match in found.items() if (size := most(int(match[1]))) and int(match[2]) > size}
