"""Whose turn it is."""

from collections import deque
from dataclasses import dataclass

from hypothesis import given
from hypothesis import strategies as st

from bridge.pool.lines import Lines
from bridge.pool.policy import Line, Owner, may_wait, next_line
from bridge.pool.shares import Held, Shares


@dataclass(frozen=True)
class Turn:
    owner: Owner
    number: int = 0


def waiting(shares, *owners):
    lines = Lines(shares)
    for number, owner in enumerate(owners):
        lines.add(Turn(owner, number))
    return lines


def served(shares, lines, places):
    """The keys that get these places, one after the other."""
    keys = []
    for _ in range(min(places, len(lines))):
        turn = lines.first()
        lines.served(turn)
        shares.take(turn.owner)
        keys.append(turn.owner.key)
    return keys


A, B, C = Owner(1), Owner(2), Owner(3)


def test_the_key_that_holds_least_comes_first():
    assert next_line([Line(7, 7), Line(0, 0), Line(3, 3)]) == 1


def test_smaller_team_comes_first_between_equal_keys():
    assert next_line([Line(1, 6), Line(1, 2), Line(1, 9)]) == 1


def test_equals_take_turns():
    assert next_line([Line(2, 2, 5), Line(2, 2, 4)]) == 1
    assert next_line([Line(2, 2), Line(2, 2)]) == 0


def test_a_single_request_does_not_wait_behind_256():
    shares = Shares()
    for _ in range(8):
        shares.take(A)
    lines = waiting(shares, *[A] * 256, B)
    assert served(shares, lines, 2) == [2, 1]


def test_keys_that_wait_get_places_in_turn():
    shares = Shares()
    lines = waiting(shares, A, A, A, B, B, C)
    assert served(shares, lines, 6) == [1, 2, 3, 1, 2, 1]


def test_equal_keys_take_turns_for_one_place():
    shares, order = Shares(), []
    lines = waiting(shares, A, A, A, B, B, B)
    while len(lines):
        order += served(shares, lines, 1)
        shares.give_back(Owner(order[-1]))
    assert order == [1, 2, 1, 2, 1, 2]


def test_turns_of_one_key_keep_their_order():
    shares = Shares()
    lines = waiting(shares, A, A, A)
    numbers = []
    while len(lines):
        numbers.append(lines.first().number)
        lines.served(lines.first())
    assert numbers == [0, 1, 2]


def test_large_team_does_not_push_out_small_one():
    shares = Shares()
    big = [Owner(number, 100) for number in range(10, 20)]
    shares.take(big[0])
    lines = waiting(shares, *big[1:], Owner(2, 200))
    assert served(shares, lines, 1) == [2]


def test_places_in_other_processes_count():
    shares = Shares()
    shares.update_others([Held({1: 2}), Held({1: 3, 2: 1}, {7: 9})])
    assert shares.line(A) == Line(5, 5)
    assert shares.line(Owner(2, 7)) == Line(1, 9)
    assert served(shares, waiting(shares, A, B), 1) == [2]


def test_last_holder_of_the_only_place_waits():
    shares = Shares()
    shares.take(A)
    shares.give_back(A)
    assert served(shares, waiting(shares, A, B), 2) == [2, 1]


def test_returned_places_are_held_by_nobody():
    shares = Shares()
    owners = [A, A, Owner(2, 7)]
    for owner in owners:
        shares.take(owner)
    for owner in owners:
        shares.give_back(owner)
    assert shares.here == Held()


@given(st.integers(0, 300))
def test_one_key_fills_at_most_half_the_queue(most):
    mine = 0
    while may_wait(mine, mine, most):
        mine += 1
    assert mine == (most + 1) // 2


@given(st.lists(st.integers(1, 8), max_size=400), st.integers(1, 256))
def test_newcomer_has_room_until_queue_is_full(keys, most):
    waiting = dict.fromkeys(range(1, 9), 0)
    for key in keys:
        if may_wait(waiting[key], sum(waiting.values()), most):
            waiting[key] += 1
        total = sum(waiting.values())
        assert total <= most
        assert may_wait(0, total, most) == (total < most)


@given(st.lists(st.tuples(st.sampled_from(["add", "serve", "leave"]), st.integers(1, 4)), max_size=60))
def test_turns_in_lines_are_served_exactly_once(steps):
    shares, lines, there = Shares(), Lines(Shares()), {key: deque() for key in range(1, 5)}
    for number, (step, key) in enumerate(steps):
        if step == "add":
            there[key].append(Turn(Owner(key), number))
            lines.add(there[key][-1])
        elif step == "leave":
            gone = there[key].pop() if there[key] else Turn(Owner(key), -1)
            lines.remove(gone)
        elif len(lines):
            turn = lines.first()
            lines.served(turn)
            assert there[turn.owner.key].popleft() == turn
        assert len(lines) == sum(map(len, there.values()))
        assert all(lines.of(each) == len(line) for each, line in there.items())
    assert set(lines.clear()) == {turn for line in there.values() for turn in line}
    assert shares.here == Held()
