"""Teams, keys and usage that nobody has caused, for a look at the pages; their sums are known."""
