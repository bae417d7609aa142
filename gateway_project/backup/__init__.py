"""Backups: all that an installation consists of in one encrypted file, and an installation out of it."""
