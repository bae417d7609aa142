"""Programs by their User-Agent."""

import pytest

from accounts.models import Usage
from bridge.http.client_apps import SIGNS, client_app_of


@pytest.mark.parametrize(
    ("user_agent", "client_app"),
    [
        (b"claude-cli/2.0.31 (external, cli)", "claude-code"),
        (b"claude-cli/2.0.31 (external, sdk-py, agent-sdk/0.1.5)", "claude-code"),
        (b"codex_cli_rs/0.58.0 (Ubuntu 24.4.0; x86_64) xterm-256color", "codex"),
        (b"codex_exec/0.58.0 (Debian 13.0.0; x86_64) unknown", "codex"),
        (b"opencode/1.0.55 ai-sdk/openai-compatible/1.0.1 ai-sdk/provider-utils/3.0.9 runtime/bun/1.3.0", "opencode"),
        (b"Cline/3.35.0", "cline"),
        (b"AsyncOpenAI/Python 2.8.0", "openai-python"),
        (b"OpenAI/Python 1.99.1", "openai-python"),
        (b"OpenAI/JS 6.8.1", "openai-node"),
        (b"Anthropic/Python 0.72.0", "anthropic-python"),
        (b"Anthropic/JS 0.68.0", "anthropic-node"),
        (b"langchain-anthropic/1.0.1", "langchain"),
        (b"litellm/1.79.1", "litellm"),
        (b"curl/8.14.1", "curl"),
        (b"Mozilla/5.0", "other"),
        (b"", "other"),
        (b"\xff\xfe", "other"),
    ],
)
def test_programs_are_known_by_what_they_send(user_agent, client_app):
    assert client_app_of(user_agent) == client_app


def test_client_family_fits_its_column():
    client_apps = {client_app.value for _, client_app in SIGNS} | {client_app_of(b"")}
    assert client_apps == set(Usage.Agent.values)
    assert max(map(len, client_apps)) <= Usage._meta.get_field("agent").max_length


def test_long_user_agent_is_read_at_its_start():
    assert client_app_of(b"x" * 100_000 + b"curl/8") == "other"
