"""Alerts: what somebody should look at, whatever it is about, until they say that they have."""
