"""What is remembered of prompts that were being answered when the service exited."""

from bridge.pool.crashes import BUDGET_SEC, LIFETIME_SEC, MOST, MOST_OF_KEY, Crashes, CrashRecord, care_of, name_of

POISON = name_of(1, "poison")


def exits(crashes, name, which, *, alone=True, weighs=None, now=0):
    """The service exits over it; each number is another exit."""
    return crashes.exited(name, f"w1-i1:{which}", alone=alone, weighs=alone if weighs is None else weighs, now=now)


def test_prompt_is_proven_by_second_exit_alone():
    crashes = Crashes()
    assert not exits(crashes, POISON, 1).proven
    assert exits(crashes, POISON, 2).proven
    assert crashes.of(POISON, 2).proven


def test_shared_exits_never_prove_a_prompt():
    crashes = Crashes()
    record = [exits(crashes, POISON, number, alone=False) for number in range(5)]
    assert not any(each.proven for each in record)
    assert [care_of(each) for each in record] == [1, 2, 2, 2, 2]
    assert exits(crashes, POISON, 5).proven


def test_exit_counts_once_for_a_prompt():
    crashes = Crashes()
    assert exits(crashes, POISON, 1, alone=False).exits == 1
    assert exits(crashes, POISON, 1, alone=False).exits == 1  # asked twice at once
    assert exits(crashes, POISON, 2, alone=False).exits == 2


def test_answered_prompt_is_in_doubt_no_more():
    crashes = Crashes()
    exits(crashes, POISON, 1)
    crashes.answered(POISON)
    assert (crashes.of(POISON, 1), care_of(crashes.of(POISON, 1))) == (None, 0)


def test_the_same_prompt_of_another_key_is_another():
    crashes = Crashes()
    for number in range(2):
        exits(crashes, POISON, number)
    other = name_of(2, "poison")
    assert (crashes.of(other, 1), crashes.has_any_of(1), crashes.has_any_of(2)) == (None, True, False)
    assert name_of(1, "else") != POISON


def test_crash_is_forgotten_in_time():
    crashes = Crashes()
    exits(crashes, POISON, 1)
    assert crashes.of(POISON, LIFETIME_SEC - 1)
    assert crashes.of(POISON, LIFETIME_SEC + 1) is None


def test_records_of_crashes_are_bounded():
    crashes = Crashes()
    for number in range(MOST + 10):
        exits(crashes, f"1:{number}", number)
    assert len(crashes.records) == MOST
    assert crashes.of("1:9", 1) is None
    assert len(crashes.unsent) <= MOST


def test_many_doubts_of_one_key_evict_no_other():
    crashes = Crashes()
    for number in range(2):
        exits(crashes, POISON, number)
    for number in range(2 * MOST):
        exits(crashes, f"2:{number}", number, alone=False, now=1)
    assert crashes.of(POISON, 2).proven
    crashes.merge(
        {POISON: CrashRecord(2, True, 0), **{f"3:{number}": CrashRecord(1, False, 1) for number in range(2 * MOST)}}
    )
    assert (len(crashes.records), crashes.of(POISON, 2)) == (
        MOST,
        CrashRecord(2, True, 0, *["w1-i1:1"] * 2, 0, (("w1-i1:0", True), ("w1-i1:1", True))),
    )


def test_records_of_others_keep_unsent_own_changes():
    crashes = Crashes()
    exits(crashes, "1:mine", 1, now=5)
    exits(crashes, "1:good", 2, now=5)
    crashes.answered("1:good")
    crashes.merge({"1:theirs": CrashRecord(2, True, 4), "1:good": CrashRecord(1, False, 5)})
    assert crashes.records == {
        "1:theirs": CrashRecord(2, True, 4),
        "1:mine": CrashRecord(1, False, 5, "w1-i1:1", "w1-i1:1", 5, (("w1-i1:1", True),)),
    }


def test_key_with_many_proven_prompts_is_spent():
    crashes = Crashes()
    for number in range(MOST_OF_KEY):
        assert not crashes.spent_for(1, number)
        for again in range(2):
            exits(crashes, f"1:{number}", 2 * number + again, now=number, weighs=False)
    assert [crashes.spent_for(key, 10) for key in (1, 2, 11)] == [BUDGET_SEC - 10, 0, 0]
    assert not crashes.spent_for(1, BUDGET_SEC)


def test_refused_key_waits_until_an_exit_ages():
    crashes = Crashes()
    for number in range(MOST_OF_KEY + 2):
        exits(crashes, f"1:{number}", number, alone=False, weighs=True, now=20 * number)
    assert crashes.spent_for(1, 200) == 40 + BUDGET_SEC - 200  # of seven, two may go before
    assert crashes.spent_for(1, 39 + BUDGET_SEC) == 1
    assert not crashes.spent_for(1, 40 + BUDGET_SEC)


def test_one_exit_counts_once_for_a_key():
    crashes = Crashes()
    for number in range(MOST_OF_KEY - 1):
        exits(crashes, f"1:{number}", number, now=6 * number)
        exits(crashes, f"1:{number}", f"{number}b", now=6 * number)  # proven
        for other in range(3):
            exits(crashes, f"1:left {number} {other}", f"{number}b", alone=False, weighs=True, now=6 * number + 1)
    assert not crashes.spent_for(1, 30)
    exits(crashes, "1:fifth", "fifth", now=30)
    assert crashes.spent_for(1, 30)


def test_exits_at_once_are_counted_each():
    crashes = Crashes()
    for number in range(MOST_OF_KEY):  # of as many instances
        crashes.exited(f"1:{number}", f"w1-i{number}:1", alone=True, weighs=True, now=0)
    assert crashes.spent_for(1, 1)


def test_company_later_washes_nothing_off():
    crashes = Crashes()
    for number in range(MOST_OF_KEY):
        exits(crashes, f"1:{number}", number, now=number)
        exits(crashes, f"1:{number}", "with others", alone=False, now=100)
    assert crashes.spent_for(1, 100) == BUDGET_SEC - 100


def test_bystanders_of_exits_are_never_spent():
    crashes = Crashes()
    for number in range(100):
        exits(crashes, f"1:{number}", "one", alone=False, now=20)  # many at one exit
        exits(crashes, f"1:again {number}", number, alone=False, now=5 * number)  # and one at each of many
        exits(crashes, f"1:answered {number}", number, now=5 * number)
        crashes.answered(f"1:answered {number}")
    assert not crashes.spent_for(1, 500)


def told(crashes, which, *names):
    """An exit at which each of these was silent, and none alone."""
    for name in names:
        crashes.exited(name, f"w1-i1:{which}", alone=False, weighs=False, tells=True, now=0)


def test_prompt_common_to_two_exits_is_proven():
    crashes = Crashes()
    told(crashes, 1, POISON, "1:a", "1:b")
    told(crashes, 2, "1:c", POISON)
    assert crashes.judged(POISON, 0).proven
    assert crashes.of(POISON, 0).blamed == "w1-i1:2"
    assert not any(crashes.judged(f"1:{name}", 0).proven for name in "abc")


def test_two_prompts_in_both_exits_prove_nothing():
    crashes = Crashes()
    for which in (1, 2):
        told(crashes, which, POISON, "1:a")
    assert not any(crashes.judged(name, 0).proven for name in (POISON, "1:a"))


def test_exit_over_proven_prompt_blames_no_other():
    crashes = Crashes()
    told(crashes, 1, POISON, "1:a")
    exits(crashes, POISON, 2)
    told(crashes, 3, "1:a", "1:b")
    assert crashes.of(POISON, 0).proven
    assert not crashes.judged("1:a", 0).proven


def test_exits_that_tell_nothing_prove_nothing():
    crashes = Crashes()
    for which in (1, 2):
        exits(crashes, POISON, which, alone=False)
    assert not crashes.judged(POISON, 0).proven


def test_company_of_another_key_proves_no_prompt():
    crashes = Crashes()
    told(crashes, 1, POISON, "2:attacker 1")
    told(crashes, 2, POISON, "2:attacker 2")
    assert not crashes.judged(POISON, 0).proven
