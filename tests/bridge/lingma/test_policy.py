"""The approval policy."""

import pytest

from bridge.lingma.tools.policy import Decision
from gateway_project.lib.tool_approval import DENY, Approval


@pytest.mark.parametrize(
    ("text", "allowed"),
    [
        ("deny", []),
        (" deny ", []),
        ("allow", ["list_dir", "List_Dir", "tool", ""]),
        ("allow:list_dir", ["list_dir"]),
        ("allow: list_dir , mcp,", ["list_dir", "mcp"]),
        ("allow:tool", []),
    ],
)
def test_policy_allows_only_what_it_names(text, allowed):
    approval = Approval.read(text)
    names = ["list_dir", "List_Dir", "list_dir ", "mcp", "tool", ""]
    assert [name for name in names if approval.allows(name)] == ([*names] if text == "allow" else allowed)


@pytest.mark.parametrize(
    "text", ["", "Deny", "yes", "allow:", "allow: , ", "allow:*", "allow:a b", "deny:a", "allow=a"]
)
def test_any_other_spelling_is_refused(text):
    with pytest.raises(ValueError, match=r"must be deny, allow, or allow:<name>,<name>"):
        Approval.read(text)


def test_empty_list_allows_no_tool():
    assert not DENY.allows("list_dir")
    assert not DENY.allows("tool")


def test_a_decision_reads_as_words():
    assert [str(Decision("mcp", allowed)) for allowed in (True, False)] == ["allowed mcp", "denied mcp"]
