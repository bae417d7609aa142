"""The aliases of a fresh installation: families of names that agents come with."""

from typing import Any

from django.db import migrations

AUTO = "org_auto"
CODER = "dashscope_qwen3_coder"
THINKER = "dashscope_qwen_plus_20250428_thinking"

# In the order in which they count; a model the account does not offer means DEFAULT_MODEL.
SHIPPED = [
    ("claude-*-thinking*", THINKER, "on", "Claude names that ask for reasoning"),
    ("claude-*haiku*", AUTO, "", "Claude Haiku: agents use it for small errands"),
    ("claude-*opus*", CODER, "", "Claude Opus"),
    ("claude-*sonnet*", CODER, "", "Claude Sonnet"),
    ("claude-*", CODER, "", "Other Claude names"),
    ("*codex*", CODER, "", "Codex: gpt-5-codex, codex-mini-latest and the like"),
    ("gpt-*-mini*", AUTO, "", "Small GPT models"),
    ("gpt-*-nano*", AUTO, "", "Smaller GPT models"),
    ("gpt-*", CODER, "", "Other GPT names"),
    ("chatgpt-*", AUTO, "", "ChatGPT names"),
    ("o?", THINKER, "", "OpenAI's reasoning models: o1, o3"),
    ("o?-*", THINKER, "", "Their variants: o3-mini, o4-mini"),
]


def ship(apps: Any, schema_editor: Any) -> None:
    """Add what is missing."""
    aliases = apps.get_model("bridge", "ModelAlias").objects.using(schema_editor.connection.alias)
    for number, (pattern, lingma_model, thinking, note) in enumerate(SHIPPED, 1):
        values = {"position": 10 * number, "lingma_model": lingma_model, "thinking": thinking, "note": note}
        aliases.get_or_create(pattern=pattern, defaults=values)


class Migration(migrations.Migration):
    dependencies = [("bridge", "0003_aliases_and_prompts")]

    # On the way back the table goes, and with it what is in it.
    operations = [migrations.RunPython(ship, migrations.RunPython.noop)]
