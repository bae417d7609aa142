"""Which tool a model means."""

import pytest

from bridge.chat.request import Tool
from bridge.prompt.tool_instructions import _KINDS
from bridge.prompt.tool_names import _GROUPS, ToolNames


def meant(name, *names):
    tool = ToolNames([Tool(each) for each in names]).find(name)
    return tool and tool.name


@pytest.mark.parametrize(
    ("name", "tool"),
    [
        *(
            ("read_file", "read_file"),
            ("ReadFile", "read_file"),
            ("read-file", "read_file"),
            ("Read File", "read_file"),
        ),
        *(("functions.read_file", "read_file"), ("mcp__read_file", "read_file"), ("mcp__fs__stat", "mcp__fs__stat")),
        *(("stat", "mcp__fs__stat"), ("fs__stat", "mcp__fs__stat"), ("fs.stat", "mcp__fs__stat")),
    ],
)
def test_spellings_of_a_name_are_the_same(name, tool):
    assert meant(name, "read_file", "mcp__fs__stat") == tool


@pytest.mark.parametrize(
    ("name", "tool"),
    [
        *(("bash", "terminal"), ("run_command", "Bash"), ("shell", "exec_command"), ("cmd", "PowerShell")),
        *(("cat", "Read"), ("open_file", "read_file"), ("grep", "search_files"), ("ls", "search_files")),
        *(("edit", "apply_patch"), ("create_file", "Write"), ("search_web", "WebSearch"), ("open_url", "fetch")),
    ],
)
def test_equivalent_names_mean_the_requests_tool(name, tool):
    assert meant(name, "other", tool) == tool


def test_exact_name_beats_equivalent_name():
    assert meant("bash", "shell", "bash") == "bash"


def test_the_nearest_meaning_is_chosen():
    assert meant("find", "Grep", "Glob", "LS") == "Glob"


@pytest.mark.parametrize("name", ["", "delete_everything", "x" * 10_000, "files"])
def test_other_names_are_no_tools(name):
    assert meant(name, "read_file", "bash") is None


def test_names_are_only_those_of_the_request():
    assert meant("bash", "read_file") is None


def test_a_spelling_that_two_tools_share_is_neither():
    assert meant("do_it", "doIt", "DO-IT") is None


def test_kinds_of_tools_are_parts_of_groups():
    """What a prompt says of a tool, and what a model's name for it means, is one taxonomy."""
    groups = [set(group) for group in _GROUPS[:-1]]  # the last joins three of them
    assert [purpose for purpose, names in _KINDS if sum(set(names) <= group for group in groups) != 1] == []
