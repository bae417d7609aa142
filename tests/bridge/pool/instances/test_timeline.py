"""What happens to an instance is kept with its reason."""

import os
import signal

from bridge.pool.instances.orders import Order
from bridge.status.accounts import AccountState
from bridge.status.transitions import TransitionReason
from bridge.status.wanted import Mode
from tests.bridge.lingma.service import Service
from tests.bridge.pools import attached, in_state, running, simulator, until


def steps(pool):
    return [(each.state.value, each.why) for each in pool.instances[0].timeline.pending()]


async def test_start_orders_and_end_have_reasons(tmp_path):
    async with running([simulator(tmp_path, "--login=auto")]) as pool:
        assert steps(pool) == [("starting", TransitionReason.STARTED), ("ready", TransitionReason.CONNECTED)]
        pool.upkeep.obey({"w1-i1": Order(Mode.DRAIN)})
        pool.upkeep.obey({})
        assert steps(pool)[2:] == [("draining", TransitionReason.ORDER), ("ready", TransitionReason.ORDER)]
        pool.upkeep.obey({"w1-i1": Order(Mode.STOP)})
        await in_state(pool, "stopped")
        assert steps(pool)[4:] == [("draining", TransitionReason.ORDER), ("stopped", TransitionReason.ORDER)]
        timeline = pool.instances[0].timeline
    assert [each.generation > 0 for each in timeline.pending()][1:] == [True] * 5


async def test_crash_is_kept_with_its_error(tmp_path):
    async with running([simulator(tmp_path, "--login=auto")]) as pool:
        pid = pool.statuses()[0].pid
        os.kill(pid, signal.SIGKILL)
        await until(pool, lambda: pool.statuses()[0].pid not in (0, pid) and pool.instances[0].is_ready)
        assert steps(pool)[-3:] == [
            ("backoff", TransitionReason.FAILED),
            ("starting", TransitionReason.STARTED),
            ("ready", TransitionReason.CONNECTED),
        ]
        failed = next(each for each in pool.instances[0].timeline.pending() if each.why is TransitionReason.FAILED)
        assert "exited with code" in failed.detail
    assert pool.instances[0].timeline.pending()[-1].why is TransitionReason.CLOSED


async def test_lost_connection_and_account_are_kept(tmp_path):
    async with running([simulator(tmp_path)], ready=False) as pool:
        await in_state(pool, "login_required")
        [*_, last] = pool.instances[0].timeline.pending()
        assert (last.why, last.detail) == (TransitionReason.CONNECTED, AccountState.LOGGED_OUT.label)
    async with Service() as service, running(attached(service)) as pool:
        peer = await service.peers.get()
        peer.socket.transport.abort()
        await until(pool, lambda: len(steps(pool)) >= 4)
        assert steps(pool)[2:] == [("starting", TransitionReason.LOST), ("ready", TransitionReason.CONNECTED)]
        assert "connection lost" in pool.instances[0].timeline.pending()[2].detail
