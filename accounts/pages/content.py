"""What a request held, on the page that explains it: for those alone who have the right by name."""

from __future__ import annotations

from typing import Any, Final, NamedTuple

from django.http import HttpRequest
from django.utils.translation import gettext, ngettext, pgettext_lazy
from django.utils.translation import gettext_lazy as _

from accounts.content.turn_content import Picture, Piece, StoredMessage, TurnContent
from accounts.content.viewing import SEES, view
from accounts.keys.standing import content_notice
from accounts.models import Usage
from gateway_project.lib.secrets.secrets_at_rest import SecretUnreadableError

ROLES: Final = {
    "system": pgettext_lazy("who said it", "System"),
    "user": pgettext_lazy("who said it", "User"),
    "assistant": pgettext_lazy("who said it", "Assistant"),
    "tool": _("Result of a tool"),
}
KINDS: Final = {"text": _("Answer"), "thinking": _("Thinking"), "error": _("Error")}


class Part(NamedTuple):
    """A text below its heading; of what is left out there is only the heading."""

    heading: str
    text: str = ""
    notes: tuple[str, ...] = ()


def content_of(row: Usage, request: HttpRequest) -> dict[str, Any]:
    """The banner, for everybody who sees the row, and the content, for those who may."""
    notice = content_notice(row.api_key) if row.api_key else ""
    user: Any = request.user
    shown: dict[str, Any] = {"content_notice": notice}
    if not user.has_perm(SEES) or request.method != "GET":  # a HEAD has no body that shows anything
        return shown
    try:
        content = view(row.request_id)
    except SecretUnreadableError:
        text = gettext(
            "It was encrypted with a key that is not among SECRET_KEYS. Add that key behind the others, and restart."
        )
        return shown | {"content_flaw": text}
    except ValueError:
        return shown | {"content_flaw": gettext("It is damaged and cannot be read.")}
    if content is None:
        missing = gettext("Nothing is kept of this request: it came before, it is too old, or there was no room.")
        # Of a key without content logging nobody expects any.
        return shown | ({"content_flaw": missing} if notice else {})
    return shown | {"content": _parts(content), "content_tools": content.tools}


def _parts(content: TurnContent) -> dict[str, list[Part]]:
    return {
        "asked": [part for said in content.messages for part in _asked(said)],
        "answered": [_answered(piece) for piece in content.reply],
    }


def _asked(said: StoredMessage) -> list[Part]:
    if said.left_out:
        text = ngettext("%(count)d message left out", "%(count)d messages left out", said.left_out)
        return [Part(text % {"count": said.left_out})]
    heading = str(ROLES.get(said.role, said.role))
    notes = tuple(_picture(picture) for picture in said.pictures)
    parts = [Part(heading, said.text, notes)] if said.text or notes or not said.calls else []
    return [*parts, *(Part(_call(call.name), call.arguments) for call in said.calls)]


def _picture(picture: Picture) -> str:
    if not picture.type:
        return gettext("An image, by its address")
    return gettext("An image: %(type)s, %(size)s bytes") % {"type": picture.type, "size": f"{picture.size:,}"}


def _answered(piece: Piece) -> Part:
    if piece.kind == "gap":
        text = ngettext("%(count)s character left out", "%(count)s characters left out", piece.left_out)
        return Part(text % {"count": f"{piece.left_out:,}"})
    return Part(_call(piece.name) if piece.kind == "call" else str(KINDS[piece.kind]), piece.text)


def _call(name: str) -> str:
    return gettext("Call of %(name)s") % {"name": name}
