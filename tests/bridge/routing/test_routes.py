"""What model names mean."""

import pytest

from bridge.prompt.profile import DEFAULT_PROFILE, PromptProfile
from bridge.routing.routes import MOST_REMEMBERED, Alias, Route, Routes, shown

OFFERED = {"org_auto": "org_auto", "auto": "org_auto", "coder": "coder", "qwen3-coder": "coder"}
TERSE = PromptProfile(DEFAULT_PROFILE.template, 10)


def routes(*aliases, profiles=()):
    return Routes(aliases, profiles, OFFERED, "org_auto")


@pytest.mark.parametrize("name", ["claude-opus-5", "Claude-X", "CLAUDE-", "claude-sonnet-4-5[1m]"])
def test_a_pattern_matches_in_any_case(name):
    assert routes(Alias("claude-*", "coder")).of(name).lingma_model == "coder"


def test_the_first_pattern_in_order_wins():
    table = routes(Alias("*-mini", "auto"), Alias("gpt-*", "coder"))
    assert [table.of(name).alias for name in ("gpt-5-mini", "gpt-5")] == ["*-mini", "gpt-*"]


@pytest.mark.parametrize(("name", "key"), [("coder", "coder"), ("Qwen3-Coder", "coder"), ("auto", "org_auto")])
def test_a_model_of_the_account_beats_every_alias(name, key):
    assert routes(Alias("*", "elsewhere", tool_mode="bridge")).of(name) == Route(key)


def test_an_alias_carries_its_modes():
    alias = Alias("thinker", "coder", ask_mode="agent", tool_mode="forward", thinking=True)
    assert routes(alias).of("thinker") == Route("coder", "agent", "forward", True, alias="thinker")


@pytest.mark.parametrize("added", ["[1m]", "-20250929", "-latest", "@2025-09-29[1m]"])
def test_suffixes_of_names_by_clients_change_nothing(added):
    table = routes(Alias("fast", "auto", tool_mode="bridge"))
    for name in ("Coder", "fast", "lingma-agent"):
        assert table.of(name + added) == table.of(name)
        assert table.has(name + added)
    assert table.of(f"llama{added}") == Route(f"llama{added}")
    assert not table.has(f"llama{added}")


def test_whole_name_pattern_beats_undated_name():
    assert routes(Alias("coder-2*", "auto")).of("coder-20250929").lingma_model == "auto"


def test_unknown_name_is_left_to_the_instance():
    assert routes(Alias("claude-*", "coder")).of("llama") == Route("llama")


@pytest.mark.parametrize("name", ["agent", "lingma-agent", "Lingma-Agent"])
def test_the_agent_names_choose_agent_mode(name):
    assert routes().of(name) == Route("", "agent")


def test_agent_names_survive_a_catch_all_alias():
    table = routes(Alias("*", "coder"), Alias("lingma-agent", "auto", ask_mode="chat"))
    assert (table.of("agent").lingma_model, table.of("agent").ask_mode) == ("coder", "agent")


def test_alias_may_make_an_agent_name_a_chat():
    assert routes(Alias("agent", "coder", ask_mode="chat")).of("agent").ask_mode == "chat"


def test_profile_follows_the_model_in_use():
    table = routes(Alias("claude-*", "Qwen3-Coder"), profiles=[("coder*", TERSE), ("*", DEFAULT_PROFILE)])
    assert [table.of(name).profile for name in ("claude-opus", "coder", "llama")] == [TERSE, TERSE, DEFAULT_PROFILE]
    assert table.profile_of("CODER-2") == TERSE


def test_profile_of_default_follows_its_key():
    table = Routes((), [("org_*", TERSE)], OFFERED, "Auto")
    assert [table.of(name).profile for name in ("gpt-4o", "agent")] == [TERSE, TERSE]


def test_unoffered_model_has_the_default_models_profile():
    table = routes(Alias("claude-*", "gone"), profiles=[("org_*", TERSE)])
    assert table.of("claude-opus").profile == TERSE


@pytest.mark.parametrize(
    ("name", "expected"), [("claude-x", True), ("coder", True), ("AUTO", True), ("agent", True), ("llama", False)]
)
def test_names_that_mean_something_are_found(name, expected):
    assert routes(Alias("claude-*", "gone")).has(name) is expected


def test_names_without_end_are_not_remembered_without_end():
    table = routes(Alias("a*", "coder"))
    for number in range(MOST_REMEMBERED + 500):
        table.of(f"a{number}")
    assert table._remembered.cache_info().currsize == MOST_REMEMBERED
    assert table.of("a" * 100_000) == Route()


def test_pattern_of_many_stars_is_quick():
    table = routes(Alias("*a" * 30 + "b", "coder"))
    assert table.of("a" * 200) == Route("a" * 200)


def test_other_models_leave_the_aliases_as_they_are():
    table = routes(Alias("claude-*", "coder")).with_models({"claude-real": "claude-real"})
    assert [table.of(name).lingma_model for name in ("claude-real", "claude-x")] == ["claude-real", "coder"]
    assert table.default_model == "org_auto"


def test_aliases_without_stars_are_listed_once():
    aliases = [Alias("fast", "a"), Alias("gpt-*", "b"), Alias("FAST", "c"), Alias("slow", "d"), Alias("x[1m]", "e")]
    assert [(each.pattern, each.lingma_model) for each in shown(aliases)] == [
        ("fast", "a"),
        ("slow", "d"),
        ("x[1m]", "e"),
    ]


def test_brackets_stand_for_themselves():
    table = routes(Alias("opus[1m]", "coder"))
    assert [table.of(name).alias for name in ("Opus[1m]", "opus1", "opusm")] == ["opus[1m]", "", ""]


@pytest.mark.parametrize(
    ("asked", "names"),
    [
        ("coder", ("coder", "qwen3-coder")),
        ("Qwen3-Coder", ("Qwen3-Coder", "coder", "qwen3-coder")),
        ("claude-sonnet-4-5", ("claude-sonnet-4-5", "coder", "qwen3-coder")),
        ("claude-sonnet-4-5-20250929", ("claude-sonnet-4-5-20250929", "claude-sonnet-4-5", "coder", "qwen3-coder")),
        ("claude-sonnet-4-5[1m]", ("claude-sonnet-4-5[1m]", "claude-sonnet-4-5", "coder", "qwen3-coder")),
        ("gpt-5-2026-01-02", ("gpt-5-2026-01-02", "gpt-5", "org_auto", "auto")),
        ("unheard-of", ("unheard-of", "org_auto", "auto")),
        ("[1m]", ("[1m]", "org_auto", "auto")),
        ("x" * 257, ("org_auto", "auto")),
    ],
)
def test_a_model_goes_by_all_its_names(asked, names):
    assert routes(Alias("claude-*", "coder")).names_of(asked) == names


def test_dated_name_may_be_its_own_model():
    table = routes(Alias("claude-opus-20250929", "coder"))
    assert "claude-opus" not in table.names_of("claude-opus-20250929")


def test_name_goes_by_wanted_model_while_none_known():
    table = Routes([Alias("claude-*", "coder")], (), {}, "org_auto")
    assert table.names_of("claude-x") == ("claude-x", "coder")
    assert table.names_of("coder") == ("coder",)
