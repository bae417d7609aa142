"""Django's backend for PostgreSQL with a deadline on every wait, and with connections kept for the next user."""
