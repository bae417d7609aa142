"""Trials: real gateways under mixed load, one named harm each, and what clients saw held against the ledger."""
