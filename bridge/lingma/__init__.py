"""Lingma's private protocol: framing, RPC and dialect are pure; connection and process do I/O."""
