"""One instance: its service, its life, its state, its health, and what is known of it."""
