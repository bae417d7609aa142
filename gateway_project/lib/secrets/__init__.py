"""Secrets: made, encrypted at rest, kept out of logs and away from other users."""
