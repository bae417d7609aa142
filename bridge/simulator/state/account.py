"""Who is logged in: the two cache files, in a plain format of the simulator's own, and the login attempts."""

from __future__ import annotations

import hashlib
import math
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any
from urllib.parse import urlencode

import msgspec

from bridge.simulator.process.ids_and_clock import IdsAndClock
from bridge.simulator.process.work_dir import replace

DAY_MS = 86_400_000


class User(msgspec.Struct, kw_only=True):
    """What `cache/user` holds. `machine` is the text of the `cache/id` it was made with."""

    machine: str
    name: str
    uid: str
    token: str
    refresh_token: str
    expire_time: int
    org_id: str = ""
    org_name: str = ""


def read_user(root: Path) -> tuple[User | None, str]:
    """The login that the cache files prove, or why there is none, in the words of the service log."""
    try:
        data = (root / "cache/user").read_bytes()
    except FileNotFoundError:
        return None, "No cached user info, please login."
    try:
        machine = (root / "cache/id").read_text().strip()
        user = msgspec.json.decode(data, type=User)
    except (OSError, msgspec.DecodeError, UnicodeDecodeError):
        return None, "Unable to decrypt user info."
    # A login is bound to the id that it was made with: copied without `cache/id` it is worth nothing (PROTOCOL 3.2).
    if user.machine != machine:
        return None, "Unable to decrypt user info."
    return user, ""


class Attempt(msgspec.Struct):
    """One started login; its nonce is good for one callback."""

    nonce: str
    verifier: str
    expires: float
    waiting_for_organization: bool = False


class Account:
    """The login of this process and the login attempts under way."""

    def __init__(self, root: Path, ids: IdsAndClock, log: Callable[[str], None], *, token_days: float) -> None:
        self.root, self.ids, self.log, self.token_days = root, ids, log, token_days
        self.user, problem = read_user(root)
        if problem:
            log(problem)
        self.attempts: dict[str, Attempt] = {}
        self._ensure_machine()

    def _ensure_machine(self) -> None:
        path = self.root / "cache/id"
        if not path.exists():
            replace(path, self.ids.uuid())

    @property
    def machine(self) -> str:
        """The machine id, which a login is bound to."""
        self._ensure_machine()
        return (self.root / "cache/id").read_text().strip()

    def log_in(self, name: str, expire_time: int = 0, **fields: str) -> User:
        """Make a login. `fields` may give uid, token, refresh_token, org_id, org_name; the rest is made up."""
        made = {
            "uid": f"593{self.ids.hex()[:13]}",
            "token": f"pt-{self.ids.hex()}",
            "refresh_token": f"rt-{self.ids.hex()}",
        }
        # Empty values are left out, so that they do not replace what is made up.
        given = {key: value for key, value in fields.items() if value}
        self.user = User(machine=self.machine, name=name, expire_time=expire_time or self._expiry(), **(made | given))
        self.save()
        return self.user

    def _expiry(self) -> int:
        return int(time.time() * 1000 + self.token_days * DAY_MS)

    def save(self) -> None:
        """Write `cache/user`, if somebody is logged in."""
        if self.user:
            replace(self.root / "cache/user", msgspec.json.encode(self.user).decode())

    def renew(self) -> User | None:
        """Give the present login new tokens and a later end; None when logged out."""
        return self.store(f"pt-{self.ids.hex()}", f"rt-{self.ids.hex()}", self._expiry())

    def store(self, token: str, refresh_token: str, expire_time: int) -> User | None:
        """Keep these tokens for the present login; None when logged out."""
        if user := self.user:
            user.token, user.refresh_token, user.expire_time = token, refresh_token, expire_time
            self.save()
        return self.user

    @property
    def seconds_left(self) -> float:
        """Until the login ends; without end when nobody is logged in."""
        return self.user.expire_time / 1000 - time.time() if self.user else math.inf

    def log_out(self) -> None:
        """Forget the login, in memory and on disk."""
        self.user = None
        (self.root / "cache/user").unlink(missing_ok=True)
        self.log("Deleted user info file.")

    def status(self, fixed: int = 0, whitelist: int = 0) -> dict[str, Any]:
        """The result of `auth/status`; what is not 0 replaces the status or the whitelist (PROTOCOL 7.1)."""
        user = self.user
        return {
            "messageId": "", "status": fixed or (2 if user else 1), "name": user.name if user else "",
            "id": user.uid if user else "", "accountId": user.uid if user else "",
            "token": user.token if user else "", "refreshToken": user.refresh_token if user else "",
            "expireTime": user.expire_time if user else 0, "quota": 0, "whitelist": whitelist or (3 if user else 0),
            "orgId": user.org_id if user else "", "orgName": user.org_name if user else "", "yxUid": "",
            "avatarUrl": "", "userType": "personal_standard" if user else "", "isSubAccount": False,
            "cloudType": "cloud", "email": "", "userTag": "", "privacyPolicyAgreed": True,
            "isPrivacyPolicyModifiable": False,
        }  # fmt: skip

    def begin(self, http_port: int, lifetime: float) -> dict[str, Any]:
        """The result of `login/generateUrl`; the nonce lives in this process only."""
        nonce, verifier = self.ids.hex(), self.ids.hex()
        # In memory only: a login begun before a restart cannot be finished after it.
        self.attempts[nonce] = Attempt(nonce, verifier, time.monotonic() + lifetime)
        challenge = hashlib.sha256(verifier.encode()).hexdigest()
        query = urlencode({
            "nonce": nonce, "port": http_port, "state": nonce, "challenge": challenge, "challenge_method": "S256",
            "machine_id": self.machine,
        })  # fmt: skip
        return {
            "loginUrl": f"http://127.0.0.1:{http_port}/lingma/login?{query}", "nonce": nonce, "verifier": verifier,
            "challenge": challenge, "challengeMethod": "S256", "success": True, "errorCode": "", "errorMsg": "",
        }  # fmt: skip

    def attempt(self, nonce: str) -> Attempt | None:
        """The living attempt of that nonce, or None with the service's line in the log."""
        found = self.attempts.get(nonce)
        if found is None or found.expires < time.monotonic():
            self.log("Invalid login nonce or consumed, ignore" if found is None else "Invalid login nonce")
            return None
        return found
