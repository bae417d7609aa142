import pytest

from accounts.content.cut import after_gap, before_gap, cut, longest_each


@pytest.mark.parametrize(
    ("sizes", "most", "longest"),
    [([], 10, 10), ([3, 4], 10, 10), ([3, 40], 10, 7), ([20, 20, 20], 30, 10), ([1, 100, 100], 21, 10)],
)
def test_largest_texts_give_way_first(sizes, most, longest):
    found = longest_each(sizes, most)
    assert found == longest
    assert sum(min(size, found) for size in sizes) <= most


def test_short_text_is_whole():
    assert cut("a short text", 12) == "a short text"


def test_cut_keeps_both_ends_and_says_so():
    text = "The beginning. " + "word " * 1000 + "The end."
    shown = cut(text, 200)
    assert shown.startswith("The beginning. ")
    assert shown.endswith("The end.")
    assert "characters left out" in shown
    assert len(shown) < 300


def test_cut_through_a_secret_keeps_neither_half():
    secret = "sk-" + "k3y" * 30
    for most in range(100, 160):
        shown = cut(f"The key is {secret} and no other one, as everybody knows by now.", most)
        assert "k3y" not in shown or secret in shown


def test_gap_in_chinese_costs_no_text():
    assert before_gap("通义灵码") == "通义灵码"
    assert after_gap("通义灵码") == "通义灵码"


def test_rest_of_a_private_key_goes():
    rest = "MIIEow" * 20 + "\n" + "IBAAKC" * 20 + "\n-----END RSA PRIVATE KEY-----\nThat was it."
    assert after_gap(rest) == "\nThat was it."
