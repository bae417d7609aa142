"""Channels glue between HTTP and the engine."""
