"""What an operator asks first: is everything well, and if not, what is to be done."""
