"""Images a client uploads: looked at, given an address, and told of as the script wants it."""

from __future__ import annotations

import base64
from typing import TYPE_CHECKING, Any

import msgspec

from .errors import RpcError

if TYPE_CHECKING:
    from .peer import Peer
    from .service import Service

Params = dict[str, Any]
LARGEST = 10_000_000  # characters of base64
UPLOADED = "image/uploadResultNotification"


def upload(service: Service, peer: Peer, params: Params) -> Params | None:
    """The immediate answer, or None for none at all; the address comes by another message."""
    request_id, manner = str(params.get("requestId") or ""), service.controls.service.image_upload
    if not request_id:
        raise RpcError(-32602, "requestId is empty")
    if manner == "error":
        raise RpcError(-32603, "simulated failure of image/upload")
    code = "UPLOAD_REFUSED" if manner == "refused" else _complaint(params.get("imageUri"))
    if code:
        message = f"simulated: {code.lower().replace('_', ' ')}"
        return {"requestId": request_id, **_errors(code, message), "result": {"success": False}}
    if manner not in {"silent", "mute"}:
        _tell(service, peer, request_id, manner)
    return None if manner == "mute" else {"requestId": request_id, **_errors(), "result": {"success": True}}


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


def _tell(service: Service, peer: Peer, request_id: str, manner: str) -> None:
    if manner == "failed":
        told = {**_errors("UPLOAD_FAILED", "simulated: upload failed"), "result": {"requestId": request_id}}
    else:
        url = f"https://simulated.invalid/images/{service.chance.hex()}.png"
        service.images.add(url)
        told = {**_errors(), "result": {"requestId": request_id, "imageUrl": url}}
    if manner == "early":
        peer.notify(UPLOADED, told)
    elif manner == "late":
        service.loop.call_later(service.controls.service.image_ms / 1000, peer.notify, UPLOADED, told)
    elif manner == "request":
        service.loop.call_soon(peer.push, UPLOADED.encode(), msgspec.json.encode(told))
    else:
        for _ in range(2 if manner == "twice" else 1):
            service.loop.call_soon(peer.notify, UPLOADED, told)
