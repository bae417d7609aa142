"""The public formats: bytes to a ChatRequest, events to bytes. Pure."""
