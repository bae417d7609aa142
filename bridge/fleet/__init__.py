"""What the processes of one gateway tell each other through Redis."""
