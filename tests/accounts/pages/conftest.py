"""Exports, read in a loop as a server does."""

import pytest
from asgiref.sync import async_to_sync
from django.contrib.auth.models import User

from accounts.pages.export import export


@pytest.fixture
def exported(rf):
    """What an export says to whoever a client has logged in."""

    def read(client, path, given):
        request = rf.get(path, given)
        request.user = User.objects.get(pk=client.session["_auth_user_id"])
        response = export(request, form=path.rpartition(".")[2])
        assert response.status_code == 200

        async def parts():
            return b"".join([part async for part in response.streaming_content]).decode()

        return async_to_sync(parts)()

    return read
