"""`make run`: starts everything the gateway consists of, keeps it running, and leaves nothing behind."""
