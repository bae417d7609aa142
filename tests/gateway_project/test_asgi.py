"""What the application says to protocols that it does not speak."""

from gateway_project.asgi import application


async def test_a_websocket_is_refused_before_it_opens():
    sent = []

    async def receive():
        return {"type": "websocket.connect"}

    async def send(message):
        sent.append(message)

    await application({"type": "websocket", "path": "/v1/responses", "headers": []}, receive, send)
    assert [message["type"] for message in sent] == ["websocket.close"]
