"""Bytes to messages: framing, WebSocket, JSON-RPC. Pure but for the clock of `vigil`."""
