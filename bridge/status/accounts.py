"""The one list of what a Lingma account can be, and who can mend it (PROTOCOL 7.1)."""

from __future__ import annotations

from enum import StrEnum

from gateway_project.lib.texts import gettext_noop


class Remedy(StrEnum):
    """What makes an account usable again. Nothing but LOGIN is cured by logging in."""

    NONE = "none"
    LOGIN = "login"
    TIME = "time"
    ADMINISTRATOR = "administrator"


class AccountState(StrEnum):
    """Whether the account may chat, and what to do where it may not."""

    label: str
    """For people, in English; pages show it translated. Also the words of an instance's last error."""
    remedy: Remedy
    advice: str
    """One sentence for operators, in English; "" where nothing has to be done."""

    def __new__(cls, value: str, label: str = "", remedy: Remedy = Remedy.NONE, advice: str = "") -> AccountState:
        """One line of the list: value, label, remedy, advice."""
        # An own `__new__`, as StrEnum would take the further fields of a line for an encoding.
        self = str.__new__(cls, value)
        self._value_ = value
        self.label, self.remedy, self.advice = label, remedy, advice
        return self

    UNKNOWN = "unknown", gettext_noop("not read yet"), Remedy.TIME
    LOGGED_IN = "logged_in", gettext_noop("logged in")
    LOGGED_OUT = (
        "logged_out", gettext_noop("not logged in to Lingma"), Remedy.LOGIN, gettext_noop("Log it in again.")
    )  # fmt: skip
    EXPIRED = (
        "expired", gettext_noop("the login to Lingma has expired"), Remedy.LOGIN, gettext_noop("Log it in again.")
    )  # fmt: skip
    ERROR = (
        "error", gettext_noop("Lingma cannot tell whether it is logged in"), Remedy.TIME,
        gettext_noop("It asks again by itself. If this lasts, see the log of the instance."),
    )  # fmt: skip
    NETWORK_ERROR = (
        "network_error", gettext_noop("Lingma does not reach its servers"), Remedy.TIME,
        gettext_noop("It tries again by itself. Check the network and the proxy of this machine."),
    )  # fmt: skip
    ADDRESS_REFUSED = (
        "address_refused", gettext_noop("the organisation does not allow this address"), Remedy.ADMINISTRATOR,
        gettext_noop("An administrator of the organisation has to allow the address of this machine."),
    )  # fmt: skip
    APP_DISABLED = (
        "app_disabled", gettext_noop("the organisation has disabled Lingma"), Remedy.ADMINISTRATOR,
        gettext_noop("An administrator of the organisation has to enable it."),
    )  # fmt: skip
    NOT_LISTED = (
        "not_listed", gettext_noop("the account is not admitted to Lingma"), Remedy.ADMINISTRATOR,
        gettext_noop("An administrator of the organisation has to admit it, or another account has to log in."),
    )  # fmt: skip
    WAITING_FOR_APPROVAL = (
        "waiting_for_approval", gettext_noop("the account waits for approval"), Remedy.ADMINISTRATOR,
        gettext_noop("An administrator of the organisation has to approve it."),
    )  # fmt: skip
    NO_LICENCE = (
        "no_licence", gettext_noop("the account has no licence"), Remedy.ADMINISTRATOR,
        gettext_noop("An administrator of the organisation has to give it a licence."),
    )  # fmt: skip

    @classmethod
    def _missing_(cls, value: object) -> AccountState:
        """A stored word that this build does not have, as another one wrote it: nobody knows what it says."""
        return cls.UNKNOWN

    @property
    def may_chat(self) -> bool:
        return self is AccountState.LOGGED_IN
