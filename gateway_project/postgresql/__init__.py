"""Django's backend for PostgreSQL: a deadline on every wait, a small pool of connections."""
