"""The application under a server for development, and what it says to protocols that it does not speak."""

from daphne.management.commands.runserver import Command
from django.core.management import get_commands, load_command_class

from gateway_project.asgi import application


def test_runserver_serves_the_application():
    assert isinstance(load_command_class(get_commands()["runserver"], "runserver"), Command)


async def test_a_websocket_is_refused_before_it_opens():
    sent = []

    async def receive():
        return {"type": "websocket.connect"}

    async def send(message):
        sent.append(message)

    await application({"type": "websocket", "path": "/v1/responses", "headers": []}, receive, send)
    assert [message["type"] for message in sent] == ["websocket.close"]
