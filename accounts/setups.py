"""What to paste where to use a key: one text per client."""

from __future__ import annotations

from typing import NamedTuple


class Setup(NamedTuple):
    """One client. `where` says what to do with the text."""

    client: str
    where: str
    text: str


def setups(base_url: str, key: str, model: str) -> list[Setup]:
    """Every client's text; `base_url` has no slash at its end."""
    fields = {"base": base_url, "key": key, "model": model}
    return [Setup(client, where, text.strip("\n") % fields) for client, where, text in TEXTS]


TEXTS = [
    (
        "Claude Code",
        "In a terminal",
        """
export ANTHROPIC_BASE_URL="%(base)s"
export ANTHROPIC_AUTH_TOKEN="%(key)s"
claude
""",
    ),
    (
        "Codex",
        "In a terminal",
        """
export LINGMA_GATEWAY_KEY="%(key)s"
codex -c model="%(model)s" -c model_provider="lingma" \\
  -c 'model_providers.lingma={name="Lingma Gateway", base_url="%(base)s/v1", env_key="LINGMA_GATEWAY_KEY", wire_api="responses"}'
""",  # noqa: E501 - a command stays in one piece
    ),
    (
        "opencode",
        "Into opencode.json",
        """
{
  "$schema": "https://opencode.ai/config.json",
  "model": "lingma/%(model)s",
  "provider": {
    "lingma": {
      "npm": "@ai-sdk/openai-compatible",
      "name": "Lingma Gateway",
      "options": {
        "baseURL": "%(base)s/v1",
        "apiKey": "%(key)s"
      },
      "models": {
        "%(model)s": {
          "attachment": true,
          "modalities": { "input": ["text", "image"], "output": ["text"] }
        }
      }
    }
  }
}
""",
    ),
    (
        "Cline",
        "Into its settings, as API provider OpenAI Compatible",
        """
Base URL  %(base)s/v1
API key   %(key)s
Model ID  %(model)s
""",
    ),
    (
        "aider",
        "In a terminal",
        """
export OPENAI_API_BASE="%(base)s/v1"
export OPENAI_API_KEY="%(key)s"
aider --model openai/%(model)s
""",
    ),
    (
        "OpenAI SDK",
        "Python, pip install openai",
        """
from openai import OpenAI

client = OpenAI(
    base_url="%(base)s/v1",
    api_key="%(key)s",
)
reply = client.chat.completions.create(
    model="%(model)s",
    messages=[{"role": "user", "content": "Hello"}],
)
print(reply.choices[0].message.content)
""",
    ),
    (
        "Anthropic SDK",
        "Python, pip install anthropic",
        """
from anthropic import Anthropic

client = Anthropic(
    base_url="%(base)s",
    api_key="%(key)s",
)
reply = client.messages.create(
    model="%(model)s",
    max_tokens=1024,
    messages=[{"role": "user", "content": "Hello"}],
)
print(reply.content[0].text)
""",
    ),
    (
        "curl",
        "In a terminal",
        """
curl %(base)s/v1/chat/completions \\
  -H "Authorization: Bearer %(key)s" \\
  -H "Content-Type: application/json" \\
  -d '{"model": "%(model)s", "messages": [{"role": "user", "content": "Hello"}]}'
""",
    ),
]
