"""Logging in to Lingma: a service of its own beside the instances logs in, proves itself, and hands its files over."""
