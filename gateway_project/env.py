"""The environment, typed: every variable the gateway reads, its default, and a loud refusal of what makes no sense."""

from __future__ import annotations

import os
import re
import secrets
import socket
from contextlib import suppress
from functools import cache
from pathlib import Path
from typing import Annotated, Any, Literal
from urllib.parse import quote

from pydantic import BeforeValidator, Field, SecretStr, ValidationError, model_validator
from pydantic_settings import (
    BaseSettings,
    NoDecode,
    PydanticBaseSettingsSource,
    SettingsConfigDict,
    SettingsError,
)

from gateway_project.lib.redis import redis_url
from gateway_project.lib.setting_types import (
    SHORTEST_KEY,
    Attachment,
    DatabaseUrl,
    Issuer,
    Keys,
    Names,
    NodeName,
    Origins,
    PeerAddress,
    Pepper,
    Proxy,
    RedisUrl,
    SecretKeys,
    Sha256,
    TimeZone,
    ToolApproval,
    TrustedOrigins,
    is_loopback,
    split,
)

BASE_DIR = Path(__file__).resolve().parent.parent


class SettingError(Exception):
    """A setting makes no sense. The message is one line that names the variable and the remedy."""


SECRETS = frozenset([
    "secret_key", "secret_keys", "key_pepper", "api_keys", "admin_password", "admin_token", "metrics_token",
    "oidc_client_secret", "email_host_password", "peer_secret", "backup_passphrase", "sentry_dsn", "database_url",
    "redis_url",
])  # fmt: skip
"""Those that may be given as `X_FILE`, the path of a file, as container platforms hand secrets over."""


class SecretFiles(PydanticBaseSettingsSource):
    """What the files say that `X_FILE` variables of one source name."""

    def __init__(self, settings_cls: type[BaseSettings], source: Any) -> None:
        super().__init__(settings_cls)
        self._variables: dict[str, str | None] = dict(source.env_vars)

    def get_field_value(self, field: Any, field_name: str) -> tuple[Any, str, bool]:
        path = self._variables.get(f"{field_name}_file")
        if field_name not in SECRETS or not path:
            return None, field_name, False
        if self._variables.get(field_name):
            raise SettingError(f"{field_name.upper()}_FILE: {field_name.upper()} is set as well; set one of them")
        try:
            return Path(path).read_text().strip(), field_name, False
        except (OSError, ValueError) as exc:
            reason = getattr(exc, "strerror", None) or "this is no text"
            raise SettingError(f"{field_name.upper()}_FILE: cannot read {path}: {reason}") from None

    def __call__(self) -> dict[str, Any]:
        found = {name: self.get_field_value(None, name)[0] for name in self.settings_cls.model_fields}
        return {name: value for name, value in found.items() if value}


class Environment(BaseSettings):
    """One attribute per variable, in lower case. Times are seconds unless the name has another unit."""

    # An empty variable means the default: compose files pass on variables that nobody has set.
    model_config = SettingsConfigDict(env_file=BASE_DIR / ".env", extra="ignore", env_ignore_empty=True, frozen=True)

    host: str = Field("127.0.0.1", description="Address the gateway listens on.")
    port: int = Field(8317, ge=1, le=65535, description="Port the gateway listens on.")
    data_dir: Path = Field(Path("./data"), description="Everything the gateway writes.")
    database_url: DatabaseUrl = Field("", description="Empty: SQLite in `DATA_DIR`. `postgres://…` in production.")
    redis_url: RedisUrl = Field("", description="Empty: an embedded server in `DATA_DIR`. `redis://…` in production.")
    web_processes: int = Field(1, ge=1, le=64, description="Gateway processes; each lends places to the others.")
    web_process: int = Field(1, ge=1, description="Number of this gateway process; `make run` sets it.")
    node_name: NodeName = Field(
        "",
        description="First part of instance names where several machines share one Redis. `hostname`: the name of the "
        "host, which is also taken where `PEER_LISTEN` is set.",
    )
    peer_listen: PeerAddress = Field(
        "",
        description="`host:port` where other machines reach this one; each of the `WEB_PROCESSES` takes a port, from "
        "this one on. Empty: there are none.",
    )
    peer_secret: SecretStr = Field(SecretStr(""), description="What machines show each other; the same on all.")
    peer_tls_cert: str = Field("", description="PEM file: this machine's certificate, for `PEER_LISTEN`.")
    peer_tls_key: str = Field("", description="PEM file: its key.")
    peer_tls_ca: str = Field("", description="PEM file: the authority that signs the certificates of all machines.")
    gateway_server: Literal["uvicorn", "daphne"] = Field("uvicorn", description="The ASGI server that serves.")
    drain_sec: float = Field(20, ge=0, description="How long running streams may go on after SIGTERM.")

    lingma_bin: str = Field("", description="Path of the Lingma executable.")
    lingma_vsix: str = Field("", description="Path or https URL of the VSIX to take the executable from.")
    lingma_vsix_sha256: Sha256 = Field("", description="Digest that the VSIX must have; with one, http will do.")
    lingma_upload_max_bytes: int = Field(
        1 << 30, ge=0, le=1 << 30, description="Largest VSIX that superusers may upload. 0: none may be uploaded."
    )
    lingma_attach_urls: Annotated[list[Attachment], NoDecode, BeforeValidator(split)] = Field(
        [], description="`ws://…` or `wss://…` of running services to attach to, or work dirs with their `.info.json`."
    )
    lingma_instances: int = Field(1, ge=1, le=64, description="Instances per gateway process.")
    lingma_instances_max: int = Field(
        16, ge=1, le=64, description="Instances per gateway process that operators may order at most."
    )
    lingma_start_timeout_sec: float = Field(15, gt=0, description="How long an instance may take to be ready.")
    lingma_replacement_smoke: bool = Field(
        True, description="An instance that takes the place of another has to answer a short chat first."
    )
    lingma_cool_max_sec: float = Field(
        60,
        ge=0,
        le=3600,
        description="Longest pause of an instance that refuses or fails turns; one turn then tries it. 0: no pauses.",
    )
    lingma_ask_kind: Literal["notification", "request"] = Field(
        "notification", description="How `chat/ask` is sent: without or with an id."
    )
    lingma_ask_overrides: dict[str, dict[str, Any]] = Field(
        {}, description='JSON merged into the `chat/ask` payload per mode, e.g. `{"chat":{"mode":"normal"}}`.'
    )
    dedicated_domain_url: str = Field("", description="Enterprise endpoint.")
    login_browser: str = Field("", description="Chromium for automatic log-ins at Lingma. Empty: found on `PATH`.")
    login_refresh_lead_days: float = Field(
        7, ge=0, le=365,
        description="Days before its end at which a login is made again by itself, where it can be. The console goes "
        "before, in this and the next two: the page of a login, then that of all logins.",
    )  # fmt: skip
    login_refresh_period_days: float = Field(
        0, ge=0, le=365, description="Days after which a login is made again in any case. 0: only before its end."
    )
    login_refresh_jitter_hours: float = Field(
        12, ge=0, le=720, description="Hours by which that comes earlier, another time for each login."
    )
    logins_spread: bool = Field(
        False,
        description="An instance that is logged out, and has no login assigned, is given one by itself, as by the "
        'console\'s "Spread over instances"; none from which one was taken away since its web process began. For '
        "machines whose names change, such as containers.",
    )
    login_timeout_sec: float = Field(
        600, gt=0, le=1800, description="How long a person may take to log in to Lingma in a browser."
    )

    secret_key: SecretStr = Field(SecretStr(""), description="Empty: generated once and stored in `DATA_DIR`.")
    secret_keys: SecretKeys = Field(
        [], description="Keys that encrypt secrets at rest, the first for new ones. Empty: generated in `DATA_DIR`."
    )
    key_pepper: Pepper = Field(
        SecretStr(""), description="What digests of API keys are made with. Empty: generated in `DATA_DIR`."
    )
    backup_passphrase: SecretStr = Field(
        SecretStr(""), description="What `manage.py backup` encrypts with, and `restore` opens; 12 characters or more."
    )
    api_keys: Keys = Field([], description="Keys to import at start, stored as digests; each of 20 characters or more.")
    admin_username: str = Field("admin", description="First superuser of the admin console.")
    admin_password: SecretStr = Field(SecretStr(""), description="Empty: generated and printed once.")
    admin_token: SecretStr = Field(SecretStr(""), description="Bearer token for `/internal/*`.")
    metrics_token: SecretStr = Field(SecretStr(""), description="Bearer token for `/metrics`.")
    sentry_dsn: SecretStr = Field(SecretStr(""), description="Where errors of the log are sent to: a Sentry project.")
    allowed_hosts: Names = Field(
        ["localhost", "127.0.0.1", "[::1]"], description="Host names the Django pages answer to."
    )
    trusted_proxies: Annotated[list[Proxy], NoDecode, BeforeValidator(split)] = Field(
        [], description="Addresses or networks whose `X-Forwarded-*` headers are believed."
    )
    csrf_trusted_origins: TrustedOrigins = Field(
        [], description="Origins whose forms the Django pages accept. The first is that of links in alerts."
    )
    cors_allowed_origins: Origins = Field(
        [], description="Origins whose pages may call `/v1` from a browser; `*` for all."
    )
    staff_mfa_required: bool = Field(False, description="Staff must have a second factor before anything else.")
    oidc_issuer: Issuer = Field("", description="Identity provider for log-ins, by its `https://` issuer URL.")
    oidc_client_id: str = Field(
        "", description="What the identity provider calls this gateway; `OIDC_ISSUER` needs it."
    )
    oidc_client_secret: SecretStr = Field(SecretStr(""), description="The secret that goes with it.")
    debug: bool = Field(False, description="Django's debug pages. Never in production.")

    default_model: str = Field("org_auto", description="Lingma model for unknown names.")
    default_ask_mode: Literal["chat", "agent"] = Field("chat", description="`chat` or `agent`.")
    tool_mode: Literal["emulate", "bridge", "forward"] = Field(
        "emulate", description="What happens to tools: `emulate`, `bridge` or `forward`."
    )
    tool_forward_enabled: bool = Field(False, description="`true` means `TOOL_MODE=forward`.")
    tool_approval: ToolApproval = Field(
        "deny", description="Answer to the tool calls of Lingma's own agent: `deny`, `allow` or `allow:<name>,<name>`."
    )
    tool_executed: Literal["text", "omit", "calls"] = Field(
        "text",
        description="How a call that Lingma ran is shown: `text`, `omit` or `calls`; "
        "agents such as Claude Code run what `calls` shows once more.",
    )

    alert_login_days: int = Field(3, ge=0, description="Days before its end from which a login is an alert. 0: never.")
    alert_error_percent: int = Field(
        20, ge=1, le=100, description="Share of the turns of five minutes, of 20 or more, whose failure is an alert."
    )
    alert_queue_length: int = Field(20, ge=1, description="Turns that wait for a place, from which there is an alert.")
    alert_instance_memory_mb: int = Field(
        2048, ge=0, description="MiB of memory of one instance from which there is an alert. 0: never."
    )
    alert_instance_disk_mb: int = Field(
        5120, ge=0, description="MiB of the work directory of one instance from which there is an alert. 0: never."
    )
    stuck_turn_sec: float = Field(
        60, gt=0, description="Silence of Lingma in a turn from which it counts as standing still, with an alert."
    )
    alert_private_webhooks: bool = Field(
        False, description="Send alerts also to webhooks at private and loopback addresses."
    )
    email_host: str = Field("", description="SMTP server, for alerts. Empty: no e-mail is sent.")
    email_port: int = Field(587, ge=1, le=65_535, description="Port of the SMTP server.")
    email_security: Literal["starttls", "tls", "none"] = Field(
        "starttls", description="Encryption to the SMTP server: `starttls`, `tls` from the beginning, or `none`."
    )
    email_host_user: str = Field("", description="User name at the SMTP server.")
    email_host_password: SecretStr = Field(SecretStr(""), description="Password at the SMTP server.")
    email_from: str = Field("lingma-gateway@localhost", description="Sender of e-mails.")

    image_fetch_enabled: bool = Field(False, description="Fetch images that clients name by an http(s) URL.")
    image_max_bytes: int = Field(10 << 20, ge=1024, description="Largest image a client may send.")
    image_max_side: int = Field(2048, ge=64, description="Larger images are scaled down to this many pixels.")
    image_max_count: int = Field(10, ge=1, description="Images of one turn that are passed on.")
    responses_ttl_sec: int = Field(86_400, ge=1, description="How long stored Responses can be continued and read.")
    models_refresh_sec: float = Field(300, gt=0, description="How often the account's model list is read again.")

    max_in_flight: int = Field(0, ge=0, description="Turns at once on each process's instances. 0: 8 each.")
    queue_timeout_sec: float = Field(
        30, ge=0, description="How long a turn may wait for a place, or for an instance that comes back."
    )
    retry_unknown_sec: float = Field(
        30, ge=1, le=3600,
        description="`Retry-After` of a refusal where nobody knows when an instance is back, or up to a third less.",
    )  # fmt: skip
    max_queue: int = Field(
        256, ge=0, description="Turns that may wait in all web processes together; one key may fill half of it."
    )
    keepalive_sec: float = Field(10, gt=0, description="Silence after which a stream gets a sign of life.")
    stream_buffer_bytes: int = Field(
        1 << 20, ge=1024, description="Unread bytes of an answer that are buffered for a slow reader."
    )
    request_buffer_bytes: int = Field(
        256 << 20, ge=64 << 20, description="Bodies of requests in work per process; of one key, half of that."
    )
    rpc_timeout_sec: float = Field(60, gt=0, description="One RPC; a turn may be silent max(60, this + 60) s.")

    session_reuse_enabled: bool = Field(True, description="Continue upstream sessions.")
    session_reuse_with_tools: bool = Field(True, description="Continue them also for requests with tools.")
    session_cache_max_entries: int = Field(256, ge=1, description="Conversations remembered.")
    session_cache_ttl_sec: int = Field(1800, ge=1, description="How long a conversation is remembered.")

    usage_retention_days: int = Field(400, ge=1, le=36_500, description="How long usage rows and their sums are kept.")
    content_retention_days: int = Field(
        7, ge=0, le=36_500, description="How long contents of keys with content logging are kept. 0: nobody's are."
    )

    trace_share: float = Field(
        0.01, ge=0, le=1, description="Share of turns that went well whose usage row says how; failed ones always do."
    )
    log_level: Literal["DEBUG", "INFO", "WARNING", "ERROR"] = Field("INFO", description="Least level logged.")
    log_format: Literal["text", "json"] = Field("text", description="Log lines for people or for machines.")
    time_zone: TimeZone = Field("UTC", description="Time zone of the admin console.")

    @classmethod
    def settings_customise_sources(
        cls, settings_cls: type[BaseSettings], *sources: Any, **named: Any
    ) -> tuple[PydanticBaseSettingsSource, ...]:
        """The environment, then `.env`; in each a secret may also be given as `X_FILE`."""
        given, environment, dotenv = (named[f"{each}_settings"] for each in ("init", "env", "dotenv"))
        files = [SecretFiles(settings_cls, each) for each in (environment, dotenv)]
        return (given, environment, files[0], dotenv, files[1])

    @model_validator(mode="after")
    def _check_provider(self) -> Environment:
        """The log-in page has a button for the provider, which knows nobody without a name."""
        if self.oidc_issuer and not self.oidc_client_id:
            raise ValueError("OIDC_ISSUER needs an OIDC_CLIENT_ID")
        return self

    @model_validator(mode="after")
    def _check_peers(self) -> Environment:
        """What machines say to each other is encrypted, and none speaks to strangers."""
        files = (self.peer_tls_cert, self.peer_tls_key, self.peer_tls_ca)
        if missing := [path for path in files if path and not Path(path).is_file()]:
            raise ValueError(f"PEER_TLS: cannot find {missing[0]}")
        if any(files) and not all(files):
            raise ValueError("PEER_TLS_CERT, PEER_TLS_KEY and PEER_TLS_CA are set together")
        if self.peer_listen and len(self.peer_secret.get_secret_value()) < SHORTEST_KEY:
            raise ValueError(f"PEER_LISTEN needs a PEER_SECRET of {SHORTEST_KEY} characters, the same on all machines")
        if self.peer_listen and not all(files) and not is_loopback(self.peer_address[0]):
            raise ValueError("PEER_LISTEN needs PEER_TLS_CERT, PEER_TLS_KEY and PEER_TLS_CA outside of loopback")
        return self

    @property
    def in_flight_limit(self) -> int:
        # Attached services replace our own instances; both are never there at once.
        instances = len(self.lingma_attach_urls) or self.lingma_instances
        return self.max_in_flight or self.places_each * instances

    @property
    def places_each(self) -> int:
        """Turns at once that each instance brings along; 0: the setting says how many there are in all."""
        return 0 if self.max_in_flight else 8

    @property
    def most_instances(self) -> int:
        """How many one process may have, by order or by the settings."""
        return max(self.lingma_instances, self.lingma_instances_max)

    @property
    def has_peers(self) -> bool:
        """Whether other web processes may belong to this gateway."""
        return self.web_processes > 1 or bool(self.peer_listen)

    @property
    def peer_address(self) -> tuple[str, int]:
        """Where the first web process listens for other machines; ("", 0) for nowhere."""
        host, _, port = self.peer_listen.rpartition(":")
        return host.strip("[]"), int(port or 0)

    @property
    def node(self) -> str:
        """The name of this machine."""
        if self.node_name not in {"", "hostname"}:
            return self.node_name
        return re.sub("[^A-Za-z0-9._-]", "-", socket.gethostname())[:40] or "host"

    @property
    def named_node(self) -> str:
        """The same where several machines share one Redis, else ""."""
        return self.node if self.node_name or self.peer_listen else ""

    @property
    def process_name(self) -> str:
        """Of this web process, among all of the gateway."""
        return self.process_names[self.web_process - 1]

    @property
    def process_names(self) -> list[str]:
        """Of the web processes of this machine, in order, as all of the gateway know them."""
        machine = f"{self.named_node}/" if self.named_node else ""
        return [f"{machine}web-{number}" for number in range(1, self.web_processes + 1)]

    @property
    def turn_silence_sec(self) -> float:
        """How long a turn may be silent (PROTOCOL 17.2)."""
        return max(60.0, self.rpc_timeout_sec + 60.0)

    @property
    def upstream(self) -> Literal["lingma", "simulator", "attached"]:
        """What stands behind the gateway."""
        if self.lingma_attach_urls:
            return "attached"
        return "lingma" if self.lingma_bin or self.lingma_vsix else "simulator"

    @property
    def behind_tls(self) -> bool:
        """Whether browsers reach the Django pages by https only."""
        origins = self.csrf_trusted_origins
        # All of them: with one plain origin, secure cookies would lock its users out.
        return bool(origins) and all(origin.startswith("https://") for origin in origins)

    @property
    def console_origin(self) -> str:
        """Where browsers reach the Django pages; "": nobody has said it."""
        origins = [origin for origin in self.csrf_trusted_origins if "*" not in origin]
        return origins[0] if origins else ""

    @property
    def takes_vsix(self) -> bool:
        """Whether the executable comes out of `LINGMA_VSIX`: the other two ways go first."""
        return bool(self.lingma_vsix) and not self.lingma_bin and not self.lingma_attach_urls

    @property
    def redis_or_embedded_url(self) -> str:
        """The Redis to talk to: the configured one, else the embedded server's socket."""
        # Quoted: DATA_DIR may hold characters that mean something in a URL.
        return self.redis_url or f"unix://{quote(str(self.data_dir.resolve() / 'redis.sock'))}"

    @property
    def login_refresh(self) -> dict[str, float]:
        """When logins are made again, where their own rows do not say otherwise."""
        return {
            "lead_days": self.login_refresh_lead_days,
            "period_days": self.login_refresh_period_days,
            "jitter_hours": self.login_refresh_jitter_hours,
        }

    @property
    def alert_options(self) -> dict[str, Any]:
        """From where on something is an alert."""
        return {
            "login_days": self.alert_login_days,
            "error_percent": self.alert_error_percent,
            "queue_length": self.alert_queue_length,
            "memory_mb": self.alert_instance_memory_mb,
            "disk_mb": self.alert_instance_disk_mb,
            "private_webhooks": self.alert_private_webhooks,
            "mail_from": self.email_from if self.email_host else "",
            "console": self.console_origin,
        }

    @property
    def celery_broker_url(self) -> str:
        return redis_url.broker_url(self.redis_or_embedded_url)

    @property
    def database_or_sqlite_url(self) -> str:
        """The database to use: the configured one, else a file in `DATA_DIR`."""
        return self.database_url or f"sqlite:///{quote(str(self.data_dir.resolve() / 'gateway.sqlite3'))}"


@cache
def load() -> Environment:
    """Read the environment once. Raise SettingError with one line for the first variable that is wrong."""
    try:
        return Environment()
    except ValidationError as exc:
        # One at a time, so that the message stays one line with one thing to do.
        first = exc.errors()[0]
        message = first["msg"].removeprefix("Value error, ")
        # What concerns several names them itself.
        raise SettingError(f"{str(first['loc'][0]).upper()}: {message}" if first["loc"] else message) from None
    except SettingsError as exc:  # a value that should be JSON and is not
        # The name stands in the message alone, in quotes.
        name = str(exc).partition('"')[2].partition('"')[0].upper()
        raise SettingError(f"{name}: this is not valid JSON") from None
    except (OSError, UnicodeDecodeError) as exc:  # with no more of it: what cannot be read may be in a password
        reason = getattr(exc, "strerror", None) or "this is no text in UTF-8"
        raise SettingError(f".env: cannot read {Environment.model_config.get('env_file')}: {reason}") from None


def stored_secret(directory: Path, name: str) -> str:
    """A secret of this installation, made on first use and readable by its owner only. Raise SettingError."""
    path = directory / "secrets" / name
    try:
        if not path.exists():
            _store_secret(path)
        return path.read_text()
    except OSError as exc:
        raise SettingError(f"DATA_DIR: cannot use {path}: {exc.strerror}") from None


def keys_at_rest(env: Environment, directory: Path) -> list[str]:
    """What secrets at rest are encrypted with, the first for new ones. Raise SettingError.

    The generated one is the last, so that what was encrypted before there were others can still be read.
    """
    keys = [key.get_secret_value() for key in env.secret_keys]
    if not keys or (directory / "secrets" / "at_rest").exists():
        keys.append(stored_secret(directory, "at_rest"))
    return keys


def key_pepper(env: Environment, directory: Path) -> bytes:
    """What digests of API keys are made with. Raise SettingError when they were made with another one so far."""
    given, path = env.key_pepper.get_secret_value(), directory / "secrets" / "keys"
    if given and not path.exists():
        return given.encode()
    stored = stored_secret(directory, "keys")
    if given and given != stored:
        raise SettingError(f"KEY_PEPPER: {path} holds another, with which the keys of this installation were made")
    return stored.encode()


def _store_secret(path: Path) -> None:
    path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
    draft = path.with_suffix(f".{os.getpid()}")
    # The mode before the content: nobody else can read it at any time.
    draft.touch(mode=0o600)
    draft.write_text(secrets.token_urlsafe(48))
    with suppress(FileExistsError):
        # A link and not a rename, which would replace the secret of a process that was faster.
        os.link(draft, path)  # the first process to get here wins
    draft.unlink()
