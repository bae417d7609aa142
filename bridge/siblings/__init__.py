"""The web processes of one gateway, which lend each other places on their instances."""
