"""Teams, API keys, limits and usage."""
