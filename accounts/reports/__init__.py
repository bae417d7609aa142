"""What usage adds up to: filters, sums by group with percentiles, and who may see what. Without HTTP."""
