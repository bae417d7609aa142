"""What clients and browsers may ask of the service."""
