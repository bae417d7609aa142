"""The choice, and the waits."""

from hypothesis import given
from hypothesis import strategies as st

from bridge.pool.policy import Affinity, Candidate, choose, restart_delay, retry_after

NAMES = [f"w1-i{number}" for number in range(1, 6)]


@st.composite
def pools(draw):
    count = draw(st.integers(1, 5))
    return [
        Candidate(name, draw(st.integers(1, 2)), draw(st.booleans()), draw(st.integers(0, 3)), draw(st.integers(1, 3)))
        for name in NAMES[:count]
    ]


affinities = st.none() | st.builds(Affinity, st.sampled_from(NAMES), st.integers(1, 2))
exclusions = st.sets(st.sampled_from(NAMES))
last = st.integers(-1, 4)


def idle(*in_flight):
    return [Candidate(name, 1, True, busy, 8) for name, busy in zip(NAMES, in_flight, strict=False)]


@given(pools(), affinities, exclusions, last)
def test_instance_with_room_is_chosen_if_any(pool, affinity, excluded, last):
    index = choose(pool, affinity, excluded, last)
    assert (index is None) == (not any(each.ready and each.in_flight < each.limit for each in pool))
    assert index is None or pool[index].has_room


@given(pools(), affinities, exclusions, last)
def test_the_holder_of_the_session_comes_first(pool, affinity, excluded, last):
    holders = [
        index
        for index, each in enumerate(pool)
        if affinity and (each.name, each.generation) == (affinity.name, affinity.generation) and each.has_room
    ]
    if holders:
        assert choose(pool, affinity, excluded, last) == holders[0]


@given(pools(), exclusions, last)
def test_least_busy_unfailed_instance_comes_next(pool, excluded, last):
    index = choose(pool, None, excluded, last)
    fresh = [each for each in pool if each.has_room and each.name not in excluded]
    if index is not None:
        rivals = fresh or [each for each in pool if each.has_room]
        assert pool[index] in rivals
        assert pool[index].in_flight == min(each.in_flight for each in rivals)


def test_equals_take_turns():
    chosen, last = [], -1
    for _ in range(7):
        last = choose(idle(0, 0, 0), None, (), last)
        chosen.append(last)
    assert chosen == [0, 1, 2, 0, 1, 2, 0]


def test_the_busier_one_waits_its_turn():
    assert choose(idle(2, 1, 1), None, (), 1) == 2
    assert choose(idle(2, 1, 1), None, (), 2) == 1


def test_another_run_does_not_hold_the_session():
    assert choose(idle(1, 0), Affinity("w1-i1", 2), (), -1) == 1


def test_an_instance_that_failed_is_better_than_none():
    assert choose(idle(0), None, {"w1-i1"}, -1) == 0
    assert choose(idle(0, 7), None, {"w1-i1"}, -1) == 1


@given(st.integers(0, 10_000), st.floats(0, 1))
def test_restart_pause_is_between_half_second_and_minute(failures, jitter):
    assert 0.5 <= restart_delay(failures, jitter) <= 37.5


def test_each_failure_doubles_the_wait():
    assert [restart_delay(failures, 0) for failures in range(1, 9)] == [0.5, 1, 2, 4, 8, 16, 30, 30]
    assert restart_delay(1, 1) == 0.625


@given(st.integers(0, 10_000), st.integers(0, 100), st.floats(0, 1000), st.floats(0, 1))
def test_refusal_gives_one_to_thirty_whole_seconds(waiting, slots, turn_sec, jitter):
    seconds = retry_after(waiting, slots, turn_sec, jitter)
    assert isinstance(seconds, int)
    assert 1 <= seconds <= 30


def test_longer_queue_gives_longer_and_varied_waits():
    assert retry_after(40, 8, 4, 0.5) > retry_after(4, 8, 4, 0.5)
    assert len({retry_after(16, 8, 4, tenth / 10) for tenth in range(11)}) > 3
