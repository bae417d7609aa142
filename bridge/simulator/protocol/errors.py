"""Errors that a client gets."""


class RpcError(Exception):
    """Becomes the `error` of a JSON-RPC answer."""

    def __init__(self, code: int, message: str) -> None:
        super().__init__(message)
        self.code = code
        self.message = message
