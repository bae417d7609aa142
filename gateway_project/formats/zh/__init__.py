"""The same, for every kind of Chinese."""
