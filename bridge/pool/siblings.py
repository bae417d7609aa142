"""The other web processes of this gateway, as the pool of one of them knows them."""

from __future__ import annotations

from typing import Protocol

from bridge.lingma.dialects.base import Model
from bridge.status.instance import InstanceStatus


class SiblingPools(Protocol):
    """The pools of other processes, for turns that find no place in their own."""

    @property
    def ready(self) -> bool:
        """An instance there can take turns."""

    @property
    def free(self) -> int:
        """Places that are free there, as far as is known."""

    def statuses(self) -> list[InstanceStatus]:
        """The instances there."""

    def models(self) -> list[Model]:
        """The models that accounts of other processes offer."""

    def waiting_changed(self) -> None:
        """More or fewer turns wait here than before."""

    def serve(self) -> None:
        """Lend places to turns there that wait."""

    def end_turns(self, why: str) -> None:
        """Fail the turns of this process that run there."""


class Alone:
    """There are none."""

    ready = False
    free = 0

    def statuses(self) -> list[InstanceStatus]:
        return []

    def models(self) -> list[Model]:
        return []

    def waiting_changed(self) -> None:
        """Nobody wants to know."""

    def serve(self) -> None:
        """Nobody waits."""

    def end_turns(self, why: str) -> None:
        """Nothing runs there."""


ALONE = Alone()
