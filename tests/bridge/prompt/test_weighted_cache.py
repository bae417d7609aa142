"""What was made of texts, kept within a bound."""

from bridge.prompt.weighted_cache import WeightedCache


def test_value_unused_for_longest_makes_room():
    cache = WeightedCache(80)
    for number in range(8):
        cache.put(number, f"value {number}", 10)
    assert cache.get(0) == "value 0"
    cache.put(8, "value 8", 10)
    assert cache.get(1) is None
    assert [cache.get(number) for number in (0, 7, 8)] == ["value 0", "value 7", "value 8"]


def test_large_share_of_the_room_is_not_kept():
    cache = WeightedCache(80)
    assert cache.put("large", "value", 11) == "value"
    assert cache.get("large") is None
