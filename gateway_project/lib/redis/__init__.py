"""Redis: addresses, keys, and the connections of tasks, pages and the hot path."""
