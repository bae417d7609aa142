"""What was made of texts, kept within a bound."""

from bridge.prompt.remembered import Remembered


def test_what_was_not_used_for_longest_makes_room():
    remembered = Remembered(80)
    for number in range(8):
        remembered.keep(number, f"value {number}", 10)
    assert remembered.get(0) == "value 0"
    remembered.keep(8, "value 8", 10)
    assert remembered.get(1) is None
    assert [remembered.get(number) for number in (0, 7, 8)] == ["value 0", "value 7", "value 8"]


def test_large_share_of_the_room_is_not_kept():
    remembered = Remembered(80)
    assert remembered.keep("large", "value", 11) == "value"
    assert remembered.get("large") is None
