"""What is remembered of prompts that were being answered when the service exited."""

from bridge.chat.request import Message
from bridge.pool.crashes import BUDGET_SEC, LIFETIME_SEC, MOST, MOST_OF_KEY, Crashes, Seen, care_of, name_of

POISON = name_of(1, (Message("user", "poison"),))


def test_prompt_is_proven_by_second_exit_alone():
    crashes = Crashes()
    assert not crashes.exited(POISON, alone=True, now=0).proven
    assert crashes.exited(POISON, alone=True, now=1).proven
    assert crashes.of(POISON, 2).proven


def test_shared_exits_never_prove_a_prompt():
    crashes = Crashes()
    seen = [crashes.exited(POISON, alone=False, now=0) for _ in range(5)]
    assert not any(each.proven for each in seen)
    assert [care_of(each) for each in seen] == [1, 2, 2, 2, 2]
    assert crashes.exited(POISON, alone=True, now=1).proven


def test_answered_prompt_is_in_doubt_no_more():
    crashes = Crashes()
    crashes.exited(POISON, alone=True, now=0)
    crashes.answered(POISON)
    assert (crashes.of(POISON, 1), care_of(crashes.of(POISON, 1))) == (None, 0)


def test_the_same_prompt_of_another_key_is_another():
    crashes = Crashes()
    for _ in range(2):
        crashes.exited(POISON, alone=True, now=0)
    other = name_of(2, (Message("user", "poison"),))
    assert (crashes.of(other, 1), crashes.concern(1), crashes.concern(2)) == (None, True, False)
    assert name_of(1, (Message("user", "else"),)) != POISON


def test_it_is_forgotten_in_time():
    crashes = Crashes()
    crashes.exited(POISON, alone=True, now=0)
    assert crashes.of(POISON, LIFETIME_SEC - 1)
    assert crashes.of(POISON, LIFETIME_SEC + 1) is None


def test_there_is_an_end_to_what_is_remembered():
    crashes = Crashes()
    for number in range(MOST + 10):
        crashes.exited(f"1:{number}", alone=True, now=0)
    assert len(crashes.seen) == MOST
    assert crashes.of("1:9", 1) is None
    assert len(crashes.unsent) <= MOST


def test_many_doubts_of_one_key_evict_no_other():
    crashes = Crashes()
    for _ in range(2):
        crashes.exited(POISON, alone=True, now=0)
    for number in range(2 * MOST):
        crashes.exited(f"2:{number}", alone=False, now=1)
    assert crashes.of(POISON, 2).proven
    crashes.merge({POISON: Seen(2, True, 0), **{f"3:{number}": Seen(1, False, 1) for number in range(2 * MOST)}})
    assert (len(crashes.seen), crashes.of(POISON, 2)) == (MOST, Seen(2, True, 0, weighs=True))


def test_news_of_others_keeps_unheard_own_doubts():
    crashes = Crashes()
    crashes.exited("1:mine", alone=True, now=5)
    crashes.exited("1:good", alone=True, now=5)
    crashes.answered("1:good")
    crashes.merge({"1:theirs": Seen(2, True, 4), "1:good": Seen(1, False, 5)})
    assert crashes.seen == {"1:theirs": Seen(2, True, 4), "1:mine": Seen(1, False, 5, weighs=True)}


def spent(crashes, now, key=1):
    return crashes.is_spent(key, now)


def test_key_with_many_proven_prompts_is_spent():
    crashes = Crashes()
    for number in range(MOST_OF_KEY):
        assert not spent(crashes, number)
        for _ in range(2):
            crashes.exited(f"1:{number}", alone=True, now=number)
    assert (spent(crashes, 10), spent(crashes, 10, key=2), spent(crashes, 10, key=11)) == (True, False, False)
    assert not spent(crashes, BUDGET_SEC)


def test_caller_hanging_up_before_exits_is_spent():
    crashes = Crashes()
    for number in range(MOST_OF_KEY):
        crashes.exited(f"1:{number}", alone=False, left=True, now=20 * number)
    assert spent(crashes, 100)


def test_those_who_were_only_there_are_never_spent():
    crashes = Crashes()
    for number in range(100):
        crashes.exited(f"1:{number}", alone=False, now=20)  # many at one exit
        crashes.exited(f"1:left {number}", alone=False, left=True, now=20)
        crashes.exited(f"1:again {number}", alone=False, now=5 * number)  # and one at each of many
        crashes.exited(f"1:answered {number}", alone=True, now=5 * number)
        crashes.answered(f"1:answered {number}")
    assert not spent(crashes, 500)
