"""OpenAI Responses. Pure."""
