"""OpenAI Chat Completions. Pure."""
