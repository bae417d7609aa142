"""How long an instance stays away, and whether anybody should wait for it."""

from bridge.pool.comeback import CALM_SEC, DEATHS, HOPE_SEC, MOST_BRIEF, Comeback


def run(comeback, now, *, ready=True, served=False):
    """One run that ends at once; the pause after it."""
    comeback.begin(now)
    if ready:
        comeback.back(now)
    comeback.served = served
    return comeback.restart_pause(now, 0)


def test_failing_starts_wait_longer_and_longer():
    comeback = Comeback()
    assert [run(comeback, now, ready=False) for now in range(8)] == [0.5, 1, 2, 4, 8, 16, 30, 30]


def test_run_that_served_restarts_at_once():
    comeback = Comeback()
    assert {run(comeback, now / 10, served=True) for now in range(100)} == {0.0}


def test_successful_start_clears_earlier_failures():
    comeback = Comeback()
    pauses = [run(comeback, now, ready=now == 3) for now in range(5)]
    assert pauses == [0.5, 1, 2, 0, 0.5]


def test_loop_of_idle_runs_is_slowed_down():
    comeback = Comeback()
    pauses = [run(comeback, now) for now in range(12)]
    assert pauses[:DEATHS] == [0.0] * DEATHS
    assert pauses[DEATHS:] == [0.5, 1, 2, CALM_SEC, CALM_SEC, CALM_SEC, CALM_SEC]


def test_occasional_ends_restart_at_once():
    comeback = Comeback()
    assert {run(comeback, 30 * number) for number in range(50)} == {0.0}


def test_working_connection_is_redialled_with_growing_pauses():
    comeback = Comeback()
    comeback.begin(0)
    comeback.back(0)
    assert comeback.lost(1, worked=True)
    pauses = [comeback.redial_pause(tries) for tries in range(8)]
    assert pauses == [0, 0.1, 0.2, 0.4, 0.8, 1, 1, 1]


def test_broken_connections_are_not_made_for_ever():
    comeback = Comeback()
    comeback.begin(0)
    assert [comeback.lost(0, worked=False) for _ in range(MOST_BRIEF + 1)] == [True] * MOST_BRIEF + [False]
    assert comeback.lost(0, worked=True)


def test_nobody_waits_for_minute_long_failures():
    comeback = Comeback()
    run(comeback, 0, ready=False)
    run(comeback, 1, ready=False)
    assert [comeback.is_hopeless(now) for now in (HOPE_SEC - 1, HOPE_SEC + 1)] == [False, True]
    run(comeback, HOPE_SEC + 2)
    assert not comeback.is_hopeless(2 * HOPE_SEC)


def test_slow_first_start_is_waited_for():
    comeback = Comeback()
    comeback.begin(0)
    assert not comeback.is_hopeless(10 * HOPE_SEC)
