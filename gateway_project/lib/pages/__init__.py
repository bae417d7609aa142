"""What pages and lists are made of, whichever app has them."""
