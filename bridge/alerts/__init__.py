"""Alerts on the state of the gateway: a table of checks, and who runs it when nobody else does."""
