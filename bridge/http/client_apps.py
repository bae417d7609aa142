"""Which program is calling, by its User-Agent: a family out of a bounded set, for figures and nothing else."""

from __future__ import annotations

from functools import lru_cache

from accounts.models import Usage

Agent = Usage.Agent

# In this order: agents put their own name before or behind that of the SDK they use.
SIGNS = (
    ("claude-cli", Agent.CLAUDE_CODE),
    ("claude-code", Agent.CLAUDE_CODE),
    ("codex", Agent.CODEX),
    ("opencode", Agent.OPENCODE),
    ("cline", Agent.CLINE),
    ("aider", Agent.AIDER),
    ("langchain", Agent.LANGCHAIN),
    ("litellm", Agent.LITELLM),
    ("openai/python", Agent.OPENAI_PYTHON),  # also AsyncOpenAI/Python
    ("openai/js", Agent.OPENAI_NODE),
    ("anthropic/python", Agent.ANTHROPIC_PYTHON),
    ("anthropic/js", Agent.ANTHROPIC_NODE),
    ("curl/", Agent.CURL),
)
LONGEST = 200


def client_app_of(user_agent: bytes) -> str:
    """A value of `Usage.Agent` for the header, `other` for what is unknown or missing."""
    # Cut before it becomes a key of the cache, which would else keep long headers of anybody.
    return _client_app_of(user_agent[:LONGEST])


@lru_cache(maxsize=512)
def _client_app_of(user_agent: bytes) -> str:
    name = user_agent.decode("latin-1").lower()
    return next((client_app.value for sign, client_app in SIGNS if sign in name), Agent.OTHER.value)
