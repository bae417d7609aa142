"""Templates that operators write."""

import pytest

from bridge.prompt.profile import DEFAULT_PROFILE, MAX_TEMPLATE, check


def test_the_shipped_template_is_right():
    assert check(DEFAULT_PROFILE.template) == []


def test_the_least_template():
    assert check("Tools: ${tools} Call: $open...$close, price $$5") == []


@pytest.mark.parametrize("missing", ["tools", "open", "close"])
def test_missing_placeholder_is_named(missing):
    template = " ".join(f"${name}" for name in ("tools", "open", "close") if name != missing)
    assert [problem.split()[0] for problem in check(template)] == [f"${missing}"]


def test_an_unknown_placeholder_is_named():
    assert check("$tools $open $close $toolz") == ["$toolz is not a placeholder."]


def test_stray_dollar_is_reported():
    assert "$$" in check("$tools $open $close 5 $ each")[0]


def test_a_template_has_a_limit():
    assert "too long" in check("$tools $open $close" + "x" * MAX_TEMPLATE)[0]
