"""What a dialect is to the rest of the gateway: questions to payloads, and messages to meanings.

Who adds a dialect writes a folder beside this module with one class that is a `Dialect`, and names it in the composer
(`bridge.runtime`). No other room knows which one is spoken.
"""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Callable, Mapping
from typing import Any, Protocol

import msgspec

from bridge.chat.errors import GatewayError
from bridge.chat.request import AskMode, Tool, ToolChoice, ToolNotation
from bridge.lingma.errors import NotReady, UploadFailed
from bridge.lingma.tools.events import ToolMessage
from bridge.logins.credentials import AccessKey, DeviceTokens, PersonalToken
from bridge.status.accounts import AccountState
from gateway_project.lib.tool_approval import Approval

Call = tuple[str, dict[str, Any]]
"""A method and its params, as they are sent."""


class AskTools(msgspec.Struct, frozen=True):
    """Tools that go along with a question, for services that pass them on to the model."""

    notation: ToolNotation
    tools: tuple[Tool, ...]
    choice: ToolChoice
    parallel: bool = True


class Ask(msgspec.Struct, frozen=True):
    """One turn as a service is asked for it. `text` is the whole flattened prompt, or the new text of a reply."""

    request_id: str
    session_id: str
    text: str
    model: str
    mode: AskMode = "chat"
    is_reply: bool = False
    image_urls: tuple[str, ...] = ()
    """As the service named them when they were uploaded."""
    tools: AskTools | None = None
    """None: the question carries no `toolConfig` at all."""
    approval: Approval | None = None
    """Which tools of the service's own agent may run in this turn; None: those that the instance allows."""


class AccountFacts(msgspec.Struct, frozen=True):
    """State of an account, and when its login ends, by the service's word: nothing that identifies it, and no token."""

    state: AccountState = AccountState.UNKNOWN
    expires_at: float = 0.0
    """Unix seconds when the login ends; 0: not known."""


class Model(msgspec.Struct, frozen=True):
    """A model that an account offers."""

    key: str
    display_name: str | None = None
    sees_images: bool = False
    is_reasoning: bool = False
    is_default: bool = False
    max_input_tokens: int = 0
    """0: the service does not say."""


class Delta(msgspec.Struct, gc=False):
    """A piece of a reply. `request_id` is that of the `Ask`; so it is in all that follows."""

    request_id: str = ""
    text: str | None = None
    """None: see `other_text`."""
    replaces: bool | None = None
    """It replaces all the text so far."""

    def other_text(self) -> str:
        """The text of a piece whose `text` is None. A method, so that no function beside the decoder reads a piece."""
        return ""


class Ending(msgspec.Struct):
    """A turn has ended: well, if `error` is None."""

    request_id: str
    session_id: str = ""
    """The one to go on with; empty: that of the question."""
    text: str = ""
    """The whole reply, for turns of which nothing was streamed."""
    error: GatewayError | None = None
    error_if_empty: GatewayError | None = None
    """What it means if the reply has no text at all."""
    logged_out: bool = False
    """The login of the account is gone."""


class Failure(msgspec.Struct):
    """An error of one turn, or of all if it does not name one."""

    request_id: str = ""
    reason: str = ""


class Uploaded(msgspec.Struct):
    """The answer to an upload: a URL, or the problem in words. One that only says "taken" has neither."""

    upload_id: str
    url: str = ""
    problem: str = ""


class LoggedUsage(msgspec.Struct, gc=False):
    """Tokens of one turn as the service has logged them."""

    request_id: str
    prompt_tokens: int
    completion_tokens: int


class LogFormat(msgspec.Struct, frozen=True):
    """A log with the token usage of turns: a path below the work dir, and what its lines look like."""

    path: str
    usage: bytes
    """What stands before the figures, which go on to the end of the line."""
    decode: Callable[[bytes], LoggedUsage]
    late_ack: bytes
    """What stands in a line that misses an acknowledgement."""
    renewal: bytes
    """What stands in every line about a renewal of the login."""
    renewed: bytes
    """In one that says that it has gone well; any other says that it has not."""


class Pushes(msgspec.Struct, frozen=True):
    """The messages of the service by their methods, each with the function that reads its params.

    A connection makes one table of them when it is opened. What is none of these may still be about a turn
    (`Dialect.request_id_of`), and is counted unless it is `passive`. Whatever reads raises what is UNREADABLE at most.
    """

    texts: Mapping[str, Callable[[bytes], Delta]]
    endings: Mapping[str, Callable[[bytes], Ending]]
    thoughts: Mapping[str, Callable[[bytes], Delta]] = {}
    failures: Mapping[str, Callable[[bytes], Failure]] = {}
    tools: Mapping[str, Callable[[bytes], ToolMessage | None]] = {}
    """Of the service's own agent. None: nothing can be read of it."""
    invocations: frozenset[str] = frozenset()
    """Those of `tools` that may want an answer with content."""
    uploads: Mapping[str, Callable[[bytes], Uploaded]] = {}
    account: frozenset[str] = frozenset()
    """The account or its models have changed: both are read again, whatever the message says."""
    passive: frozenset[str] = frozenset()
    """Known, and nothing to do but to acknowledge them."""


class Dialect(Protocol):
    """A private protocol over JSON-RPC. What decodes a result may raise what is UNREADABLE unless it says otherwise.

    A class that inherits from this one gets what has a body here: a service without images, tools or log.
    """

    @property
    @abstractmethod
    def pushes(self) -> Pushes:
        """The messages that the service sends unasked, with their readers."""

    @property
    def repeats(self) -> bool:
        """The service may send the very same request twice in a row, and means it once."""
        return False

    @property
    def log(self) -> LogFormat | None:
        """The file and form in which it logs the tokens of turns; None: it logs none."""
        return None

    @abstractmethod
    def request_id_of(self, params: bytes) -> str:
        """The request id of the turn that any other message is about, or ""."""

    @abstractmethod
    def initialize(self, workspace: str) -> Call:
        """The first call of a connection."""

    @abstractmethod
    def version_of(self, result: bytes) -> str:
        """The service's version out of its result, or "". Raises nothing."""

    def use_endpoint(self, url: str) -> Call:
        """Have the service use a dedicated domain. Raise NotReady if it cannot."""
        raise NotReady(f"this service cannot be told to use {url}")

    @abstractmethod
    def login_status(self) -> Call:
        """Ask whether an account is logged in."""

    @abstractmethod
    def account_of(self, result: bytes) -> AccountFacts:
        """State and end of the account in the result of `login_status`. Raise what is UNREADABLE."""

    def login_url(self) -> Call:
        """Have the service begin a login in a browser. Raise NotReady if it cannot be logged in by a client."""
        raise NotReady("this service cannot be logged in from here")

    def url_of(self, result: bytes) -> str:
        """The address of the page on which that login begins. Raise NotReady if the service gives none."""
        raise NotReady("this service cannot be logged in from here")

    def log_in_with(self, credentials: AccessKey | PersonalToken | DeviceTokens) -> Call:
        """Have the service log in without a browser. Raise NotReady if it cannot."""
        raise NotReady("this service cannot be logged in from here")

    def is_taken(self, result: bytes) -> bool:
        """Whether the immediate answer to that is no refusal; `login_status` tells who is logged in then."""
        return False

    @abstractmethod
    def list_models(self) -> Call:
        """Ask what the account offers."""

    @abstractmethod
    def models_of(self, result: bytes) -> list[Model]:
        """The models in the result of `list_models`, each once."""

    @abstractmethod
    def ping(self) -> Call:
        """A call that a service answers beside its work, if it answers it at all."""

    @abstractmethod
    def ask(self, ask: Ask) -> Call:
        """The question."""

    @abstractmethod
    def refusal_of(self, result: bytes) -> str | None:
        """The message of an immediate result that fails the question; None for any other. Raises nothing."""

    @abstractmethod
    def stop(self, request_id: str, session_id: str) -> Call:
        """Nobody wants the rest of this turn."""

    def upload(self, upload_id: str, data_uri: str) -> Call:
        """Hand over an image. Raise UploadFailed if it takes none."""
        raise UploadFailed("This service takes no images.")

    def upload_answer(self, result: bytes) -> Uploaded:
        """The immediate answer to that; the URL may come later as a push."""
        raise UploadFailed("This service takes no images.")

    def name_in_text(self, text: str, tool_id: str) -> str:
        """The tool's name, if the text of the reply announces the call in a way that can be read, else ""."""
        return ""

    def approve(self, request_id: str, session_id: str, tool_id: str, *, allowed: bool) -> Call:
        """Let the service's own agent run a tool, or not. Only for those that have `pushes.tools`, like the rest."""
        raise NotImplementedError

    def tool_result(self, tool_id: str, name: str, result: bytes) -> Call:
        """A tool's result (JSON) as the service reported it, sent back to it; the params also answer a push."""
        raise NotImplementedError

    def no_tool_result(self, tool_id: str, name: str, why: str) -> Call:
        """The same for a tool that has given nothing."""
        raise NotImplementedError
