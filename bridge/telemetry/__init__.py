"""What is counted and logged of turns and refusals."""
