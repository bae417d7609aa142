import pytest

from accounts.patterns import LONGEST, MOST, allows, flaw_of


@pytest.mark.parametrize(
    ("pattern", "name"),
    [
        ("coder", "coder"), ("coder", "CODER"), ("Coder", "coder"), ("claude-*", "claude-sonnet-4-5-20250929"),
        ("claude-*", "Claude-Opus"), ("*coder", "dashscope_qwen3_coder"), ("qwen?-max", "qwen3-max"), ("*", "anything"),
        ("sonnet[1m]", "sonnet[1m]"), ("模型*", "模型一"), ("a.b", "a.b"),
    ],
)  # fmt: skip
def test_a_pattern_fits_names_in_any_case(pattern, name):
    assert allows(frozenset({"other", pattern}), [name])


@pytest.mark.parametrize(
    ("pattern", "name"),
    [
        ("coder", "coder2"), ("coder", "my-coder"), ("claude-*", "my-claude-x"), ("sonnet[1m]", "sonnet1"),
        ("a.b", "axb"), ("[a-z]", "b"), ("*", "x" * 257), ("coder", "coder\n"), ("coder", ""),
    ],
)  # fmt: skip
def test_a_pattern_fits_whole_names_only(pattern, name):
    assert not allows(frozenset({pattern}), [name])


def test_one_name_that_fits_is_enough():
    assert allows(frozenset({"coder"}), ["claude-sonnet-4-5", "coder"])
    assert not allows(frozenset({"coder"}), [])


def test_a_pattern_of_many_stars_is_no_burden():
    assert not allows(frozenset({"*a" * 60 + "b"}), ["a" * 256])


@pytest.mark.parametrize("patterns", [["x" * (LONGEST + 1)], ["a"] * (MOST + 1), ["a\nb"], ["a\x1b[31m"], ["a\u202eb"]])
def test_a_list_that_makes_no_sense_is_refused(patterns):
    assert flaw_of(patterns)


def test_a_list_that_makes_sense_has_no_flaw():
    assert flaw_of(["claude-*", "Qwen3 Coder", "sonnet[1m]", "模型"]) is None


@pytest.mark.parametrize(
    ("patterns", "names", "allowed"),
    [
        ({"!gpt-*"}, ["claude-x", "coder"], True),
        ({"!gpt-*"}, ["gpt-5", "coder"], False),
        ({"!coder"}, ["gpt-5", "CODER"], False),
        ({"*", "!coder"}, ["gpt-5", "coder"], False),
        ({"*", "!coder"}, ["gpt-5", "plain"], True),
        ({"gpt-*", "!gpt-5*"}, ["gpt-5-mini"], False),
        ({"gpt-*", "!gpt-5*"}, ["other"], False),
        ({"! gpt-5"}, ["gpt-5"], False),
        ({"!gpt-5"}, [], False),
    ],
)
def test_forbidden_pattern_beats_an_allowed_one(patterns, names, allowed):
    assert allows(frozenset(patterns), names) is allowed


def test_pattern_behind_the_mark_is_checked():
    assert flaw_of(["!" + "x" * LONGEST]) is None
    assert flaw_of(["!" + "x" * (LONGEST + 1)])
    assert flaw_of(["!"])
