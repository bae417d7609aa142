"""Tool calls that a model writes into its text, read while the text arrives. Pure."""
