"""Gateways that the end-to-end tests share."""

from tests.e2e.fixtures import _twins, gateway, mortal, stream, twins, wire

__all__ = ["_twins", "gateway", "mortal", "stream", "twins", "wire"]
