"""An instance as others see it: the one list of its states, and what its heartbeat carries."""
