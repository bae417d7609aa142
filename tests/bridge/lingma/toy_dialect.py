"""A dialect that no module of the gateway knows, and a service that speaks it: other names, other payloads."""

import msgspec

from bridge.chat.errors import ContentFiltered, UpstreamFailed
from bridge.lingma.dialects.base import AccountFacts, Delta, Dialect, Ending, Model, Pushes
from bridge.status.accounts import AccountState
from tests.bridge.lingma import service

NO_SUCH_WORDS = "forbidden words"

decode_piece = msgspec.json.Decoder(tuple[str, str]).decode
decode_over = msgspec.json.Decoder(dict[str, str]).decode


def read_piece(params):
    turn, words = decode_piece(params)
    return Delta(turn, words)


def read_over(params):
    over = decode_over(params)
    why = over.get("why")
    if why is None:
        return Ending(over["turn"], over["talk"])
    kind = ContentFiltered if why == NO_SUCH_WORDS else UpstreamFailed
    return Ending(over["turn"], error=kind(f"The toy service failed: {why}"))


class ToyDialect(Dialect):
    """Talks instead of sessions, words instead of texts; a login is a name, a menu lists what there is."""

    pushes = Pushes(
        texts={"piece": read_piece},
        endings={"over": read_over},
        account=frozenset({"menu/changed"}),
        passive=frozenset({"weather"}),
    )

    def request_id_of(self, params):
        return ""

    def initialize(self, workspace):
        return "hello", {"from": "gateway"}

    def version_of(self, result):
        return msgspec.json.decode(result)["toy"]

    def login_status(self):
        return "who", {}

    def account_of(self, result):
        somebody = msgspec.json.decode(result) != "nobody"
        return AccountFacts(AccountState.LOGGED_IN if somebody else AccountState.LOGGED_OUT)

    def list_models(self):
        return "menu", {}

    def models_of(self, result):
        return [Model(name, name.title()) for name in msgspec.json.decode(result)]

    def ping(self):
        return "knock", {}

    def ask(self, ask):
        return "say", {"turn": ask.request_id, "talk": ask.session_id, "words": ask.text, "with": ask.model}

    def refusal_of(self, result):
        return None

    def stop(self, request_id, session_id):
        return "hush", {"turn": request_id}


class ToyService(service.Service):
    """Its `on_ask(peer, params)` runs a turn."""

    ASK = "say"

    def __init__(self, on_ask=None):
        super().__init__(on_ask=on_ask)
        self.answers = {"hello": {"toy": "7"}, "who": "me", "menu": ["soup", "bread"]}


def piece(params, words):
    return "piece", [params["turn"], words]


def over(params, **more):
    return "over", {"turn": params["turn"], "talk": params["talk"], **more}
