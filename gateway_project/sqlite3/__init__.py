"""Django's backend for SQLite, which leaves nothing open of a connection that could not be set up."""
