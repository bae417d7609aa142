"""One chat turn, from HTTP to Lingma and back."""
