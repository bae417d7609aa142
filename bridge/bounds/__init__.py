"""What requests and strangers may take of memory and time."""
