import pytest

from gateway_project.lib.visible import visible


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        ("claude-sonnet-4-5[1m]", "claude-sonnet-4-5[1m]"),
        ("通义灵码　é 😀", "通义灵码　é 😀"),
        ("a\x1b[31mb", r"a\x1b[31mb"),
        ("a\u202eb\u2069", r"a\u202eb\u2069"),
        ("zero\u200bwidth\ufeff", r"zero\u200bwidth\ufeff"),
        ("two\nlines\u2028", r"two\nlines\u2028"),
        ("tag\U000e0041 half\ud83d", r"tag\U000e0041 half\ud83d"),
    ],
)
def test_characters_that_move_or_hide_are_spelled(text, shown):
    assert visible(text) == shown
