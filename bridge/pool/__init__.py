"""Which instance takes a turn, and how long a caller waits for one."""
