"""One process: what it loads, what it is called, and how it lives and dies."""
