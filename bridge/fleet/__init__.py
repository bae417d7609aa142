"""What the processes of one gateway share through Redis."""
