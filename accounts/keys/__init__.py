"""API keys: their secrets, and who is calling."""
