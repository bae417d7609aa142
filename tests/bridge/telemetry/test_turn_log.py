"""What lists and logs say of tools."""

import pytest

from bridge.telemetry.turn_log import tools_summary


@pytest.mark.parametrize(
    ("outcomes", "decisions", "summary"),
    [
        ({}, [], ""),
        ({"parsed": 3, "repaired": 1, "refused": 0}, [], "3 parsed, 1 repaired"),
        ({}, ["denied run_in_terminal", "denied list_dir", "denied list_dir"], "denied run_in_terminal, list_dir"),
        ({"parsed": 1}, ["allowed read_file", "denied rm"], "1 parsed; allowed read_file; denied rm"),
    ],
)
def test_tool_outcomes_are_summed_up_briefly(outcomes, decisions, summary):
    assert tools_summary(outcomes, decisions) == summary
