"""Usage rows for tests."""

from accounts.ledger.row import UsageRow


def row(request_id, **fields):
    plain = {
        "api_key_id": 0,
        "protocol": "openai",
        "endpoint": "/v1/chat/completions",
        "model": "org_auto",
        "status": "ok",
        "started_at": 1_790_000_000.5,
        "prompt_tokens": 10,
        "completion_tokens": 20,
        "total_ms": 1234,
    }
    return UsageRow(request_id=request_id, **(plain | fields))
