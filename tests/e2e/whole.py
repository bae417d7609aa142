"""Whole installations, as `make run` starts them."""

import sqlite3

from tests.directories import copy
from tests.e2e.installation import FAST
from tests.gateway_project.gateway import Gateway


def start(directory, template, **settings):
    """A supervisor on a prepared data directory."""
    return Gateway(copy(template, directory, "metrics"), **{**FAST, **settings})


def filed(directory, request_id):
    """The row of a turn in the database."""
    database = sqlite3.connect(directory / "gateway.sqlite3")
    try:
        columns = "status, protocol, model, prompt_tokens, completion_tokens, usage_source, agent"
        query = f"select {columns} from accounts_usage where request_id = ?"
        return database.execute(query, [request_id]).fetchall()
    finally:
        database.close()
