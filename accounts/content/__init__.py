"""What keys with content logging send and receive: cut, redacted, encrypted, kept for some days."""
