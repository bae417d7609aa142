"""Errors that a client gets."""


class RpcError(Exception):
    """An error of a request: it becomes the `error` member of the JSON-RPC answer."""

    def __init__(self, code: int, message: str) -> None:
        super().__init__(message)
        self.code = code
        self.message = message
