"""The login page, which in truth stands on a host of its own, and what can be in the way of a login there."""

from __future__ import annotations

import hmac
from collections.abc import Callable
from urllib.parse import quote

from bridge.simulator.methods.web_page import Answer, Query, page
from bridge.simulator.options.service_options import ServiceOptions
from bridge.simulator.state.service_state import ServiceState

Submit = Callable[[Query, Query], Answer]
WRONG = '<p id="error" role="alert">{}</p>'


class SignIn:
    """The option `sign_in` says what the page asks for. Every way through it ends at the callback."""

    def __init__(self, state: ServiceState) -> None:
        self.state = state
        self.forms: dict[str, Submit] = {"/lingma/password": self._password, "/lingma/code": self._code}

    @property
    def _options(self) -> ServiceOptions:
        return self.state.context.controls.service

    def page(self, query: Query) -> str:
        """The first page."""
        match self._options.sign_in:
            case "link":
                link = _callback(query).replace("&", "&amp;")
                return page("Simulated login", f'<p>No account is needed.</p><a id="login" href="{link}">Log in</a>')
            case "changed":
                return page("Welcome", "<p>Scan this with the app to go on.</p><canvas></canvas>")
            case _:
                return page("Simulated login", _password_form(query))

    def _password(self, query: Query, form: Query) -> Answer:
        options = self._options
        if not form.get("username") or not _equal(form.get("password", ""), options.sign_in_password):
            return Answer(
                200, page("Simulated login", WRONG.format("Wrong account or password.") + _password_form(query))
            )
        asked = query | {"name": form["username"]}
        match options.sign_in:
            case "captcha":
                link = _callback(asked).replace("&", "&amp;")
                human = f'<div id="captcha">Prove that you are human. <a id="human" href="{link}">Done</a></div>'
                return Answer(200, page("One more step", human))
            case "second_factor":
                return Answer(200, page("One more step", _code_form(asked)))
            case _:
                return Answer(302, location=_callback(asked))

    def _code(self, query: Query, form: Query) -> Answer:
        if not _equal(form.get("code", ""), self._options.sign_in_code):
            return Answer(200, page("One more step", WRONG.format("Wrong code.") + _code_form(query)))
        return Answer(302, location=_callback(query))


def _equal(given: str, wanted: str) -> bool:
    return hmac.compare_digest(given.encode(), wanted.encode())


def _callback(query: Query) -> str:
    name = f"&name={quote(query['name'])}" if query.get("name") else ""
    return f"/auth/callback?state={quote(query.get('state', ''))}&auth=simulated-auth&token=simulated-token{name}"


def _password_form(query: Query) -> str:
    return (
        f'<form method="post" action="/lingma/password?state={quote(query.get("state", ""))}">'
        '<label>Account <input id="username" name="username" autocomplete="username"></label>'
        '<label>Password <input id="password" name="password" type="password"></label>'
        '<button id="submit">Log in</button></form>'
    )


def _code_form(query: Query) -> str:
    return (
        f'<form method="post" action="/lingma/code?state={quote(query.get("state", ""))}&amp;name='
        f'{quote(query.get("name", ""))}"><label>Code from your phone <input id="code" name="code"></label>'
        '<button id="submit">Go on</button></form>'
    )
