"""The one runtime of this process: started on first use, ended with the process."""

from __future__ import annotations

from django.conf import settings

from bridge.runtime.runtime import Runtime

STOPS = "The gateway is shutting down; send the request again."
END_SEC = 2.0  # how long turns that were ended may take to say so and to be booked

_runtime: Runtime | None = None


async def get_runtime() -> Runtime:
    """The runtime of this process, started on first use: Daphne, for one, does not announce its start."""
    global _runtime  # noqa: PLW0603  one per process is the point
    if _runtime is None:
        # Set before the first await: two first requests at once must not start two.
        _runtime = Runtime(settings.ENV, settings.DATA_DIR, settings.KEY_PEPPER)
        _runtime.start()
        await _runtime.followers.routes_read()
    return _runtime


def begin_to_stop() -> None:
    """No more requests come, and other processes borrow nothing any more."""
    if _runtime is not None:
        _runtime.neighbours.drain()


def lends() -> bool:
    """Other processes still use places of this one."""
    return _runtime is not None and _runtime.neighbours.use_this


def end_turns() -> None:
    """Time is up: every turn that still runs ends with an error its client can read."""
    if _runtime is not None:
        _runtime.pool.end_turns(STOPS)
        if _runtime.peers is not None:
            _runtime.peers.end_turns(STOPS)


async def stop_runtime() -> None:
    """Stop the runtime of this process; nothing to do if it was never started."""
    global _runtime
    runtime, _runtime = _runtime, None
    if runtime is not None:
        await runtime.stop()
