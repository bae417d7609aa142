"""A server behind a door that sync tests open, shut and silence: the door runs in a thread of its own."""

import asyncio
import threading

from tests.trials.doors import Door


class DoorThread:
    """Use as a context."""

    def __init__(self, target):
        self._door = Door(target)
        self._loop = asyncio.new_event_loop()
        self._thread = threading.Thread(target=self._loop.run_forever)

    def __enter__(self):
        self._thread.start()
        self._wait(self._door.__aenter__())
        self.port = self._door.port
        return self

    def __exit__(self, *_):
        self._wait(self._door.__aexit__())
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join(10)
        self._loop.close()

    def _wait(self, coroutine):
        return asyncio.run_coroutine_threadsafe(coroutine, self._loop).result(20)

    def _do(self, name):
        async def act():
            getattr(self._door, name)()

        self._wait(act())

    def swallow(self):
        """Nothing arrives any more, and nobody is told."""
        self._do("swallow")

    def heal(self):
        """New connections pass again; those that were silent stay so."""
        self._do("heal")

    def cut(self):
        """Reset every connection; new ones pass."""
        self._do("cut")
