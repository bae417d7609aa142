"""Django's backend for PostgreSQL: a deadline on every wait, connections kept for the next user."""
