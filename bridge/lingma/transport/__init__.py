"""Bytes to messages: framing, WebSocket, JSON-RPC. Pure."""
