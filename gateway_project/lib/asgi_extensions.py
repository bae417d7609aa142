"""What our server offers to applications beyond ASGI."""

from typing import Any, Final

WHOLE: Final = "http.response.whole"
"""Of the scope's `extensions`: `http.response.start` may have the `body`, which is the whole answer then."""
OFFERED: Final[dict[str, dict[Any, Any]]] = {WHOLE: {}}
SAME_HEAD: Final = "same_head"
"""Of the scope: a dict for what the application works out from a head. Equal heads of a connection share it."""
