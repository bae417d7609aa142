"""Images a client uploads: looked at, given an address, and pushed as the script wants it."""

from __future__ import annotations

import base64
from typing import Any

import msgspec

from bridge.simulator.methods.base import SILENCE, Method, Params
from bridge.simulator.protocol.errors import RpcError
from bridge.simulator.protocol.peer import Peer
from bridge.simulator.state.service_state import ServiceState

LARGEST = 10_000_000  # characters of base64
UPLOADED = "image/uploadResultNotification"


def _upload(state: ServiceState, peer: Peer, params: Params) -> Any:
    """The immediate answer, if there is one; the address comes by another message."""
    request_id, manner = str(params.get("requestId") or ""), state.context.controls.service.image_upload
    if not request_id:
        raise RpcError(-32602, "requestId is empty")
    if manner == "error":
        raise RpcError(-32603, "simulated failure of image/upload")
    code = "UPLOAD_REFUSED" if manner == "refused" else _complaint(params.get("imageUri"))
    if code:
        message = f"simulated: {code.lower().replace('_', ' ')}"
        return {"requestId": request_id, **_errors(code, message), "result": {"success": False}}
    if manner not in {"silent", "mute"}:
        _push(state, peer, request_id, manner)
    return SILENCE if manner == "mute" else {"requestId": request_id, **_errors(), "result": {"success": True}}


def _complaint(uri: Any) -> str:
    """The error code of an image that is not taken, or nothing."""
    if not isinstance(uri, str) or not uri.startswith("data:"):
        return "LOCAL_PATH_NOT_SUPPORTED"
    head, _, data = uri.partition(",")
    if len(data) > LARGEST:
        return "FILE_TOO_LARGE"
    try:
        content = base64.b64decode(data, validate=True)
    except ValueError:
        content = b""
    return "" if content and head.startswith("data:image/") and head.endswith(";base64") else "INVALID_IMAGE"


def _errors(code: str | None = None, message: str | None = None) -> Params:
    return {"errorCode": code, "errorMessage": message}


def _push(state: ServiceState, peer: Peer, request_id: str, manner: str) -> None:
    if manner == "failed":
        fields = {**_errors("UPLOAD_FAILED", "simulated: upload failed"), "result": {"requestId": request_id}}
    else:
        url = f"https://simulated.invalid/images/{state.context.ids.hex()}.png"
        # A turn counts only addresses that were given out here.
        state.images.add(url)
        fields = {**_errors(), "result": {"requestId": request_id, "imageUrl": url}}
    # The caller has not answered yet, so this message overtakes the answer.
    if manner == "early":
        peer.notify(UPLOADED, fields)
    elif manner == "late":
        state.context.loop.call_later(state.context.controls.service.image_ms / 1000, peer.notify, UPLOADED, fields)
    elif manner == "request":
        state.context.loop.call_soon(peer.push, UPLOADED.encode(), msgspec.json.encode(fields))
    else:
        for _ in range(2 if manner == "twice" else 1):
            state.context.loop.call_soon(peer.notify, UPLOADED, fields)


METHODS: dict[str, Method] = {"image/upload": _upload}
