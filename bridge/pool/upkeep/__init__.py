"""What is done with instances beside turns: replaced, added, measured, tried, taken out of service."""
