"""Gateways that the end-to-end tests share."""

from tests.e2e.fixtures import gateway, stream, wire

__all__ = ["gateway", "stream", "wire"]
