"""Images of a request: checked, fetched where that is allowed, made small enough, and handed to the service."""
