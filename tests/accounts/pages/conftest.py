"""Exports, read in a loop as a server does."""

import tracemalloc

import pytest
from asgiref.sync import async_to_sync
from django.contrib.auth.models import User

from accounts.pages.export import export


@pytest.fixture
def answered(rf):
    """An export for whoever a client has logged in."""

    def ask(client, path, given):
        request = rf.get(path, given)
        request.user = User.objects.get(pk=client.session["_auth_user_id"])
        response = export(request, form=path.rpartition(".")[2])
        assert response.status_code == 200
        return response

    return ask


@pytest.fixture
def exported(answered):
    """What an export says."""

    def read(client, path, given):
        response = answered(client, path, given)

        async def parts():
            return b"".join([part async for part in response.streaming_content]).decode()

        return async_to_sync(parts)()

    return read


@pytest.fixture
def drained(answered):
    """How long an export is, and the most memory that it had meanwhile, none of it being kept."""

    def read(client, path, given):
        response = answered(client, path, given)

        async def size():
            return sum([len(part) async for part in response.streaming_content])

        tracemalloc.start()
        try:
            return async_to_sync(size)(), tracemalloc.get_traced_memory()[1]
        finally:
            tracemalloc.stop()

    return read
