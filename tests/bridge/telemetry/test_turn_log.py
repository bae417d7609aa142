"""What lists and logs say of tools."""

import logging

import pytest

from accounts.ledger.row import UsageRow
from bridge.telemetry.turn_log import TurnLogRecord, tools_summary
from gateway_project.log_formatters import text_line


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


ROW = {
    "request_id": "req_1", "api_key_id": 1, "protocol": "openai", "endpoint": "/v1/chat/completions",
    "model": "org_auto", "status": "ok", "started_at": 0.0,
}  # fmt: skip


@pytest.mark.parametrize(
    "more",
    [
        {},
        {
            "team_id": 7,
            "stream": True,
            "first_token_ms": 0,
            "total_ms": 9,
            "usage_source": "upstream",
            "agent": "aider",
        },
        {"model": 'two words="x"\u202e', "reason": "busy", "prompt_tokens": 3},
        {"model": "m" * 101},
        {"tools": "2 parsed", "trace_id": "ab"},
        {"request_id": "req 1", "trace_id": "ab"},
    ],
)
def test_turns_line_is_that_of_its_fields(more):
    record = TurnLogRecord(UsageRow(**ROW | more), "lgw_Ab")
    plain = logging.makeLogRecord(record.__dict__ | {"fields": record.fields})
    assert text_line(record) == text_line(plain)
