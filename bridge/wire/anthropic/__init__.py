"""Anthropic Messages. Pure."""
