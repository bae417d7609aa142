"""The tool calls of the service's own agent: what they are and what they are answered."""
