"""What a key may spend: requests and tokens per minute, turns at once."""
