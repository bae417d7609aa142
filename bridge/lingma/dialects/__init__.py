"""The method names and payloads of the service, and what its answers mean. Pure."""
