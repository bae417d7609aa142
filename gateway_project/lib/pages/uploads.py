"""A large file of a request, which the server has written to the disk, as Django's views see it."""

from __future__ import annotations

from enum import Enum
from http import HTTPStatus
from pathlib import Path
from typing import Any, Final

import msgspec

from gateway_project.lib.texts import Text, gettext_noop

KEY: Final = "lingma_gateway.upload"
"""Where the scope of such a request says what came of its body. No client can write there."""


class Upload(msgspec.Struct, frozen=True):
    """The file is deleted when the request has ended."""

    path: Path
    sha256: str
    fields: dict[str, str] = {}
    """What else was in the form."""


class Asked(msgspec.Struct, frozen=True):
    """Nothing of the body was read yet, or of the file: the view answers 204 if it shall be."""


class Trouble(Enum):
    """Why there is no file: the status, and what people read."""

    NONE_SENT = HTTPStatus.BAD_REQUEST, gettext_noop("There is no file in it. Choose one.")
    BAD_FORM = HTTPStatus.BAD_REQUEST, gettext_noop("The form cannot be read.")
    OFF = HTTPStatus.FORBIDDEN, gettext_noop("Nothing may be uploaded here: LINGMA_UPLOAD_MAX_BYTES is 0.")
    TOO_SLOW = HTTPStatus.REQUEST_TIMEOUT, gettext_noop("The file took longer than an hour.")
    BUSY = HTTPStatus.CONFLICT, gettext_noop("Another file is being uploaded. Try again when it is there.")
    TOO_LARGE = (
        HTTPStatus.REQUEST_ENTITY_TOO_LARGE,
        gettext_noop("The file is larger than %(mib)d MiB. LINGMA_UPLOAD_MAX_BYTES says how large one may be."),
    )
    WRONG_KIND = (
        HTTPStatus.UNSUPPORTED_MEDIA_TYPE,
        gettext_noop("Send the file as multipart/form-data, or alone as application/octet-stream."),
    )
    NOT_WRITTEN = HTTPStatus.INTERNAL_SERVER_ERROR, gettext_noop("The file could not be written to DATA_DIR.")
    DISK_FULL = (
        HTTPStatus.INSUFFICIENT_STORAGE,
        gettext_noop("There is no room for the file in DATA_DIR. Delete what is not needed there."),
    )


class NotUploaded(Exception):
    """There is no file."""

    def __init__(self, trouble: Trouble, **values: object) -> None:
        self.status: HTTPStatus = trouble.value[0]
        self.text = Text(trouble.value[1], **values)
        super().__init__(self.text)


def is_asked(request: Any) -> bool:
    """Whether the server only asks if it shall read the body; the answer to that is 204."""
    return isinstance(_found(request), Asked)


def was_tried(request: Any) -> bool:
    """Whether a body has come, or is refused."""
    return isinstance(_found(request), Upload | NotUploaded)


def upload_of(request: Any) -> Upload:
    """Raise NotUploaded."""
    match _found(request):
        case Upload() as upload:
            return upload
        case NotUploaded() as trouble:
            raise trouble
        case _:
            raise NotUploaded(Trouble.WRONG_KIND)


def _found(request: Any) -> Upload | NotUploaded | Asked | None:
    found: Upload | NotUploaded | Asked | None = getattr(request, "scope", {}).get(KEY)
    return found
