"""What a private protocol is to the rest of the gateway, and a folder for each one. Pure."""
