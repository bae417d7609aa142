"""`manage.py runserver` is daphne's, which serves the chats too; its app would load Twisted into every process."""

from daphne.management.commands.runserver import Command

__all__ = ["Command"]
