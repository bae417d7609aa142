"""How long an instance stays away, and whether anybody should wait for it."""

from bridge.pool.instances.restart_policy import CALM_SEC, DEATHS, HOPE_SEC, MOST_BRIEF, RestartPolicy


def run(policy, now, *, ready=True, served=False):
    """One run that ends at once; the pause after it."""
    policy.begin(now)
    if ready:
        policy.back(now)
    policy.served = served
    return policy.restart_pause(now, 0)


def test_failing_starts_wait_longer_and_longer():
    policy = RestartPolicy()
    assert [run(policy, now, ready=False) for now in range(8)] == [0.5, 1, 2, 4, 8, 16, 30, 30]


def test_run_that_served_restarts_at_once():
    policy = RestartPolicy()
    assert {run(policy, now / 10, served=True) for now in range(100)} == {0.0}


def test_successful_start_clears_earlier_failures():
    policy = RestartPolicy()
    pauses = [run(policy, now, ready=now == 3) for now in range(5)]
    assert pauses == [0.5, 1, 2, 0, 0.5]


def test_loop_of_idle_runs_is_slowed_down():
    policy = RestartPolicy()
    pauses = [run(policy, now) for now in range(12)]
    assert pauses[:DEATHS] == [0.0] * DEATHS
    assert pauses[DEATHS:] == [0.5, 1, 2, CALM_SEC, CALM_SEC, CALM_SEC, CALM_SEC]


def test_occasional_ends_restart_at_once():
    policy = RestartPolicy()
    assert {run(policy, 30 * number) for number in range(50)} == {0.0}


def test_working_connection_is_redialled_with_growing_pauses():
    policy = RestartPolicy()
    policy.begin(0)
    policy.back(0)
    assert policy.lost(1, worked=True)
    pauses = [policy.redial_pause(tries) for tries in range(8)]
    assert pauses == [0, 0.1, 0.2, 0.4, 0.8, 1, 1, 1]


def test_broken_connections_are_not_made_for_ever():
    policy = RestartPolicy()
    policy.begin(0)
    assert [policy.lost(0, worked=False) for _ in range(MOST_BRIEF + 1)] == [True] * MOST_BRIEF + [False]
    assert policy.lost(0, worked=True)


def test_turns_wait_for_no_minute_long_failures():
    policy = RestartPolicy()
    run(policy, 0, ready=False)
    run(policy, 1, ready=False)
    assert [policy.keeps_failing(now) for now in (HOPE_SEC - 1, HOPE_SEC + 1)] == [False, True]
    run(policy, HOPE_SEC + 2)
    assert not policy.keeps_failing(2 * HOPE_SEC)


def test_slow_first_start_is_waited_for():
    policy = RestartPolicy()
    policy.begin(0)
    assert not policy.keeps_failing(10 * HOPE_SEC)
