"""The lists of what an attempt to log in can be: why it was begun, how far it is, and how it ended."""

from __future__ import annotations

from typing import Final

from bridge.status.labelled import Advised, Labelled
from bridge.status.logins import LoginKind
from gateway_project.lib.texts import gettext_noop

WAYS: Final = tuple(kind for kind in LoginKind if kind is not LoginKind.BUNDLE)
"""By which a login can be made again."""
SERVICE: Final = "service"
"""The way of what no attempt is: Lingma renews a login that runs, shortly before its end."""


class AttemptReason(Labelled):
    """Who or what wanted it."""

    OPERATOR = "operator", gettext_noop("an operator")
    COMMAND = "command", gettext_noop("a command")
    SCHEDULE = "schedule", gettext_noop("it ends soon")
    LOST = "lost", gettext_noop("it was lost")

    @property
    def by_itself(self) -> bool:
        """Nobody asked for it."""
        return self in (AttemptReason.SCHEDULE, AttemptReason.LOST)


class AttemptState(Labelled):
    """How far it is."""

    WAITING = "waiting", gettext_noop("waits for the login worker")
    STARTING = "starting", gettext_noop("starts Lingma beside the instances")
    NEEDS_PERSON = "needs_person", gettext_noop("needs a person")
    SIGNING_IN = "signing_in", gettext_noop("signs in")
    CHECKING = "checking", gettext_noop("checks the login with a chat")
    DONE = "done", gettext_noop("done")
    FAILED = "failed", gettext_noop("failed")
    CANCELLED = "cancelled", gettext_noop("cancelled")

    @property
    def is_over(self) -> bool:
        return self in (AttemptState.DONE, AttemptState.FAILED, AttemptState.CANCELLED)


class AttemptResult(Advised):
    """How an attempt ended, in words, and what to do."""

    NONE = "", ""
    LOGGED_IN = "logged_in", gettext_noop("logged in"), gettext_noop("Its instances take it over by themselves.")
    CANCELLED = "cancelled", gettext_noop("somebody ended it")
    RENEWED = "renewed", gettext_noop("Lingma has renewed it")
    NOT_RENEWED = (
        "not_renewed", gettext_noop("Lingma could not renew it"),
        gettext_noop("It is made again by itself where that can be; else log in before it ends."),
    )  # fmt: skip
    NO_WORKER = (
        "no_worker", gettext_noop("no login worker took it up"),
        gettext_noop("See whether the gateway's login worker runs, and whether Redis answers."),
    )  # fmt: skip
    BUSY = (
        "busy", gettext_noop("another process logs the same login in"), gettext_noop("Try it again in a minute.")
    )  # fmt: skip
    WORKER_ENDED = (
        "worker_ended", gettext_noop("the process that logged in has ended"), gettext_noop("Try it again.")
    )  # fmt: skip
    NO_PROGRAM = (
        "no_program", gettext_noop("there is no Lingma program here to log in with"),
        gettext_noop("Attached services are logged in where they run. Else set LINGMA_BIN or LINGMA_VSIX."),
    )  # fmt: skip
    NOT_STARTED = (
        "not_started", gettext_noop("Lingma did not start"),
        gettext_noop("See whether instances start; the log of the login worker says more."),
    )  # fmt: skip
    NO_CREDENTIALS = (
        "no_credentials", gettext_noop("its credentials are missing, or not what this way needs"),
        gettext_noop("Give them on the page of the login, or with lingma_login."),
    )  # fmt: skip
    UNREADABLE = (
        "unreadable", gettext_noop("its credentials cannot be decrypted"),
        gettext_noop("Add the key that they were encrypted with to SECRET_KEYS, or give them again."),
    )  # fmt: skip
    REFUSED = (
        "refused", gettext_noop("Lingma did not take the credentials"),
        gettext_noop("See whether they are right and still valid."),
    )  # fmt: skip
    NOT_TOLD = "not_told", gettext_noop("Lingma gave no address to log in at"), gettext_noop("Try it again.")
    NOBODY_CAME = (
        "nobody_came", gettext_noop("nobody logged in in time"),
        gettext_noop("Begin again, open the address, and log in within LOGIN_TIMEOUT_SEC."),
    )  # fmt: skip
    ACCOUNT = (
        "account", gettext_noop("logged in, but the account may not chat"),
        gettext_noop("An administrator of the organisation has to change that. What was stored stays."),
    )  # fmt: skip
    UNREACHABLE = (
        "unreachable", gettext_noop("Lingma did not reach its servers, or could not tell whether it is logged in"),
        gettext_noop("Check the network and the proxy of this machine. What was stored stays, and it is tried again."),
    )  # fmt: skip
    CHAT_FAILED = (
        "chat_failed", gettext_noop("logged in, but a chat to test it failed"), gettext_noop("What was stored stays.")
    )  # fmt: skip
    CHAT_AWAY = (
        "chat_away", gettext_noop("logged in, but no model of Lingma answered a chat to test it"),
        gettext_noop("What was stored stays. It is tried again later; where a password was sent, three times at most."),
    )  # fmt: skip
    NO_FILES = (
        "no_files", gettext_noop("logged in, but Lingma wrote no files of the login"), gettext_noop("Try it again.")
    )  # fmt: skip
    NOT_LATER = (
        "not_later", gettext_noop("the new login ends no later than the old one"), gettext_noop("The old one stays.")
    )  # fmt: skip
    NEWER = "newer", gettext_noop("a newer login came meanwhile"), gettext_noop("The newer one stays.")
    LOST_SERVICE = (
        "lost_service", gettext_noop("Lingma went away while it was logged in"), gettext_noop("Try it again.")
    )  # fmt: skip
    WRONG_PASSWORD = (
        "wrong_password", gettext_noop("the page did not take user name and password"),
        gettext_noop("Correct them on the page of the login."),
    )  # fmt: skip
    CAPTCHA = (
        "captcha", gettext_noop("the page asks for a proof that somebody is human"),
        gettext_noop("Log in by hand: begin again, and open the address."),
    )  # fmt: skip
    SECOND_FACTOR = (
        "second_factor", gettext_noop("the page asks for a second factor"),
        gettext_noop("Log in by hand: begin again, and open the address."),
    )  # fmt: skip
    UNKNOWN_PAGE = (
        "unknown_page", gettext_noop("the page is not one that is known"),
        gettext_noop("See its picture. What is where on the page is set under Login page."),
    )  # fmt: skip
    PAGE_SLOW = (
        "page_slow", gettext_noop("the page was too slow"),
        gettext_noop("It is tried again later; where a password was sent, three times at most."),
    )  # fmt: skip
    PAGE_AWAY = (
        "page_away", gettext_noop("the page cannot be reached"),
        gettext_noop("Check the network and the proxy of this machine."),
    )  # fmt: skip
    STRAYED = (
        "strayed", gettext_noop("the page led to a host that is not known"),
        gettext_noop("If it is right there, add the host under Login page."),
    )  # fmt: skip
    NO_BROWSER = (
        "no_browser", gettext_noop("there is no Chromium, or it does not start"),
        gettext_noop("Install one, or set LOGIN_BROWSER to its path."),
    )  # fmt: skip
    NO_PLAYWRIGHT = (
        "no_playwright", gettext_noop("what drives a browser is not installed"), gettext_noop("Run make login-browser.")
    )  # fmt: skip
    BROKEN = (
        "broken", gettext_noop("it failed for a reason that nobody foresaw"),
        gettext_noop("The log of the login worker has it."),
    )  # fmt: skip
