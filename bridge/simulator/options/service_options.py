"""What concerns the process as a whole."""

from __future__ import annotations

from typing import Annotated, Literal

import msgspec


class ServiceOptions(msgspec.Struct, frozen=True, kw_only=True):
    """The options of the process as a whole; the annotations are their help texts."""

    login: Annotated[Literal["", "auto", "out"], "auto: write a valid login bundle; out: log out"] = ""
    user: Annotated[str, "name of the account that logs in"] = "simulated@example.com"
    organizations: Annotated[str, "comma list; with two or more, the login asks to choose one"] = ""
    nonce_expires_sec: Annotated[float, "how long a login attempt lives"] = 300
    token_days: Annotated[float, "how long a fresh token lives"] = 60
    renewal: Annotated[
        Literal["works", "fails", "never"], "what the service's own renewals do before a login ends (F11)"
    ] = "works"
    renewal_sec: Annotated[float, "how long before its end a login is renewed"] = 3600
    renewal_every_sec: Annotated[float, "the pause after a renewal that failed"] = 60
    auth_status: Annotated[int, "fixed auth/status.status; 0: the true one"] = 0
    whitelist: Annotated[int, "fixed auth/status.whitelist; 0: the true one"] = 0
    refused_secrets: Annotated[str, "comma list of secret keys and personal tokens that log nobody in"] = ""
    sign_in: Annotated[
        Literal["link", "password", "captcha", "second_factor", "changed"],
        "the login page: a link; a form with a password, then a captcha or a code; a page that nobody knows",
    ] = "link"
    sign_in_password: Annotated[str, "the password of that form"] = "simulated"  # noqa: S105
    sign_in_code: Annotated[str, "the code of the second factor"] = "123456"
    sign_in_ms: Annotated[float, "wait before a login page is answered"] = 0
    models: Annotated[str, "comma list of key:Name; a change pushes config/refreshModels (F25)"] = ""
    models_empty: Annotated[bool, "config/queryModels answers {} (F19)"] = False
    user_plan: Annotated[str, "value of user/plan; empty: the error -32603"] = ""
    version_string: Annotated[str, "version reported everywhere (F29)"] = "2.11.1"
    server_name: Annotated[str, "serverInfo.name"] = "lingma"
    start_delay_ms: Annotated[float, "wait before anything is listened on"] = 0
    start_fails: Annotated[bool, "exit with exit_code instead of starting"] = False
    exit_after_sec: Annotated[float, "exit with exit_code after so long; 0: never"] = 0
    exit_code: Annotated[int, "exit code of failures and crashes"] = 1
    stop_delay_ms: Annotated[float, "wait between a signal and the exit"] = 0
    ignore_sigint: Annotated[bool, "go on after SIGINT (F22)"] = False
    ignore_sigterm: Annotated[bool, "go on after SIGTERM"] = False
    initialize_silent: Annotated[bool, "never answer initialize (F18)"] = False
    need_initialize: Annotated[bool, "refuse calls before initialize"] = True
    info_every_sec: Annotated[float, "how often .info.json is rewritten"] = 30
    info_port: Annotated[int, "port written to .info.json; 0: the true one (F23)"] = 0
    info_stale: Annotated[bool, "leave .info.json as a crash would: dead pid, dead port (F24)"] = False
    ipc: Annotated[bool, "listen on <workDir>/lingma.sock too"] = False
    crash_on_turn: Annotated[int, "crash when the n-th turn has sent its first chunks (F21)"] = 0
    max_parallel: Annotated[int, "turns above this many finish with 429 (F26); 0: no limit"] = 0
    rewrite_user_ms: Annotated[float, "rewrite cache/user so often (F28); 0: never"] = 0
    ack_timeout_ms: Annotated[float, "an unacknowledged push is logged after so long"] = 10_000
    ack_gate: Annotated[bool, "the next push waits for the acknowledgement or its time-out"] = False
    adopt_session: Annotated[bool, "an unknown session id is taken over; false: another is allocated"] = True
    reply_unknown: Annotated[Literal["fresh", "error"], "isReply for an unknown session: fresh or error"] = "fresh"
    unknown_model: Annotated[Literal["default", "error"], "unknown model key: default or error"] = "default"
    persist: Annotated[bool, "keep the sessions in the work dir over a restart"] = False
    record: Annotated[bool, "write <workDir>/received.jsonl"] = False
    image_upload: Annotated[
        Literal["ok", "early", "twice", "late", "request", "failed", "refused", "error", "silent", "mute"],
        "how image/upload ends: ok; reported early (before the answer), twice, late (after image_ms) or as a request; "
        "reported as failed; refused or error by the answer; silent (answered, no report) or mute (not even answered)",
    ] = "ok"
    image_ms: Annotated[float, "with image_upload=late: how much later"] = 11_000
    log_max_bytes: Annotated[int, "rotate logs/lingma.log at this size; 0: never"] = 0
    pings: Annotated[
        Literal["all", "frames", "requests", "none"], "which pings are answered: all, frames, requests or none"
    ] = "all"
    idle_sec: Annotated[float, "close a connection on which a client sent nothing for so long; 0: never"] = 0
    kick: Annotated[int, "a changed number closes every connection"] = 0
    seed: Annotated[int, "seed of ids and clock; 0: real ones"] = 0
