"""Django's settings, all read from the typed environment."""

from pathlib import Path
from typing import Any

from django.utils.translation import gettext_lazy

from bridge.version import VERSION
from gateway_project.admin_theme import UNFOLD as UNFOLD
from gateway_project.databases import database
from gateway_project.env import BASE_DIR, key_pepper, keys_at_rest, load, stored_secret
from gateway_project.lib.redis import redis_keys
from gateway_project.logging import config as logging_config

ENV = load()
DATA_DIR: Path = ENV.data_dir.resolve()

SECRET_KEY = ENV.secret_key.get_secret_value() or stored_secret(DATA_DIR, "django")
SECRET_KEYS = keys_at_rest(ENV, DATA_DIR)
DEBUG = ENV.debug
ALLOWED_HOSTS = ENV.allowed_hosts
CSRF_TRUSTED_ORIGINS = ENV.csrf_trusted_origins

# Without TLS secure cookies would lock everybody out of the pages; lingma.W001 warns where they are missing.
SESSION_COOKIE_SECURE = CSRF_COOKIE_SECURE = ENV.behind_tls
SESSION_COOKIE_HTTPONLY = CSRF_COOKIE_HTTPONLY = True
SESSION_COOKIE_SAMESITE = CSRF_COOKIE_SAMESITE = "Lax"  # strict ones would not come back from an identity provider
# Only where a proxy says by which way a request came: without one every request seems plain, and would go in circles.
SECURE_SSL_REDIRECT = ENV.behind_tls and bool(ENV.trusted_proxies)
SILENCED_SYSTEM_CHECKS = ["security.W004"]  # HSTS is about the whole host, and the proxy's to send
if not ENV.behind_tls:
    SILENCED_SYSTEM_CHECKS += ["security.W008", "security.W012", "security.W016"]  # lingma.W001 says when it matters

INSTALLED_APPS = [
    "gateway_project.apps.ProjectConfig",  # its `runserver` comes before the one of static files
    "unfold.apps.BasicAppConfig",  # its usual one would put its own site in the place of ours
    "unfold.contrib.filters",
    "gateway_project.apps.ConsoleConfig",
    "django.contrib.auth",
    "django.contrib.contenttypes",
    "django.contrib.sessions",
    "django.contrib.messages",
    "django.contrib.staticfiles",
    "allauth",
    "allauth.account",
    "allauth.mfa",
    *(["allauth.socialaccount", "allauth.socialaccount.providers.openid_connect"] if ENV.oidc_issuer else []),
    "rest_framework",
    "drf_spectacular",
    "channels",
    "django_prometheus",
    "django_celery_beat",
    "accounts",
    "sessions_store",
    "bridge",
]

MIDDLEWARE = [
    "django.middleware.security.SecurityMiddleware",
    "gateway_project.static_files.StaticFiles",
    "gateway_project.compression.Compression",
    "gateway_project.security_headers.SecurityHeaders",
    "accounts.api.problems.ApiAnswers",
    "gateway_project.trouble.DatabaseTrouble",
    "django.contrib.sessions.middleware.SessionMiddleware",
    "django.middleware.locale.LocaleMiddleware",
    "django.middleware.common.CommonMiddleware",
    "django.middleware.csrf.CsrfViewMiddleware",
    "django.contrib.auth.middleware.AuthenticationMiddleware",
    "accounts.audit.middleware.AuditContext",
    "gateway_project.trouble.SecondFactor",
    "django.contrib.messages.middleware.MessageMiddleware",
    "allauth.account.middleware.AccountMiddleware",
    "django.middleware.clickjacking.XFrameOptionsMiddleware",
]

ROOT_URLCONF = "gateway_project.urls"
ASGI_APPLICATION = "gateway_project.asgi.application"

TEMPLATES: list[dict[str, Any]] = [
    {
        "BACKEND": "django.template.backends.django.DjangoTemplates",
        "DIRS": [BASE_DIR / "templates"],
        "APP_DIRS": True,
        "OPTIONS": {
            "context_processors": [
                "django.template.context_processors.request",
                "django.contrib.auth.context_processors.auth",
                "django.contrib.messages.context_processors.messages",
                "accounts.pages.layout.layout",
            ]
        },
    }
]

DATABASES: dict[str, Any] = {"default": database(ENV.database_or_sqlite_url, DATA_DIR)}
DEFAULT_AUTO_FIELD = "django.db.models.BigAutoField"

# Nothing is shared through Django's cache; what processes share is in Redis by name, or in the database.
CACHES = {"default": {"BACKEND": "django_prometheus.cache.backends.locmem.LocMemCache"}}

AUTH_PASSWORD_VALIDATORS = [
    {"NAME": f"django.contrib.auth.password_validation.{name}"}
    for name in ("UserAttributeSimilarityValidator", "MinimumLengthValidator", "CommonPasswordValidator")
]

LOGIN_URL = "login"
ACCOUNT_ADAPTER = "accounts.login.adapters.AccountAdapter"
ACCOUNT_RATE_LIMITS = MFA_RATE_LIMITS = False  # ours count for all processes together, `accounts.login.waits`
ACCOUNT_LOGIN_METHODS, ACCOUNT_SIGNUP_FIELDS = {"username"}, ["username*", "password1*"]
ACCOUNT_EMAIL_VERIFICATION = "none"  # no mail is sent at all
ACCOUNT_FORMS = {"reauthenticate": "accounts.login.forms.PasswordAgainForm"}
MFA_ADAPTER = "accounts.login.adapters.SecondFactorAdapter"
MFA_SUPPORTED_TYPES = ["totp", "webauthn", "recovery_codes"]
MFA_ALLOW_UNVERIFIED_EMAIL = True  # addresses are entered by those who make users
MFA_TOTP_TOLERANCE = 1  # clocks of telephones are not exact
MFA_WEBAUTHN_ALLOW_INSECURE_ORIGIN = not ENV.behind_tls  # browsers allow it on localhost only
MFA_FORMS = {
    "authenticate": "accounts.login.forms.CodeForm",
    "reauthenticate": "accounts.login.forms.CodeAgainForm",
    "activate_totp": "accounts.login.forms.ActivateForm",
    "add_webauthn": "accounts.login.forms.AddKeyForm",
}
SOCIALACCOUNT_ADAPTER = "accounts.login.oidc.ProviderAdapter"
SOCIALACCOUNT_LOGIN_ON_GET = True  # a form that leads to another site would need a looser content policy
SOCIALACCOUNT_PROVIDERS = {
    "openid_connect": {
        "OAUTH_PKCE_ENABLED": True,
        "APPS": [
            {
                "provider_id": "oidc",
                "name": "OpenID Connect",
                "client_id": ENV.oidc_client_id,
                "secret": ENV.oidc_client_secret.get_secret_value(),
                "settings": {"server_url": ENV.oidc_issuer},
            }
        ],
    }
}

REST_FRAMEWORK = {
    # Tokens first: whoever sends neither is then answered 401 and not 403.
    "DEFAULT_AUTHENTICATION_CLASSES": [
        "accounts.api.tokens.TokenAuthentication",
        "rest_framework.authentication.SessionAuthentication",
    ],
    "DEFAULT_PERMISSION_CLASSES": [
        "accounts.api.permissions.ModelPermissions",
        "accounts.api.permissions.WithinScopes",
    ],
    "DEFAULT_RENDERER_CLASSES": ["rest_framework.renderers.JSONRenderer"],
    "DEFAULT_PARSER_CLASSES": ["accounts.api.parsers.ShallowJSONParser"],
    "DEFAULT_FILTER_BACKENDS": ["accounts.api.lists.ByParameters", "accounts.api.lists.Ordering"],
    "DEFAULT_PAGINATION_CLASS": "accounts.api.lists.InOrder",
    "DEFAULT_SCHEMA_CLASS": "drf_spectacular.openapi.AutoSchema",
    "EXCEPTION_HANDLER": "accounts.api.problems.handle",
}
SPECTACULAR_SETTINGS = {
    "TITLE": "Lingma Gateway",
    "DESCRIPTION": "Teams, keys, usage and what else operators manage. Chats are at `/v1`, not described here.",
    "VERSION": VERSION,
    "OAS_VERSION": "3.1.0",
    "SCHEMA_PATH_PREFIX": "/api/",
    "COMPONENT_SPLIT_REQUEST": True,
    "POSTPROCESSING_HOOKS": ["accounts.api.schema.complete"],
    "AUTHENTICATION_WHITELIST": [
        "accounts.api.tokens.TokenAuthentication",
        "rest_framework.authentication.SessionAuthentication",
    ],
}

LANGUAGE_CODE = "en"
LANGUAGES = [("en", gettext_lazy("English")), ("zh-hans", gettext_lazy("Simplified Chinese"))]
LOCALE_PATHS = [BASE_DIR / "locale"]
LANGUAGE_COOKIE_AGE = 31_536_000  # a year; otherwise a choice would end with the browser
LANGUAGE_COOKIE_HTTPONLY, LANGUAGE_COOKIE_SAMESITE, LANGUAGE_COOKIE_SECURE = True, "Lax", ENV.behind_tls
TIME_ZONE = ENV.time_zone
USE_TZ = True
FORMAT_MODULE_PATH = "gateway_project.formats"  # times as logs write them, to the second

STATIC_URL = "static/"
STATIC_ROOT = DATA_DIR / "static"
STORAGES = {
    "default": {"BACKEND": "django.core.files.storage.FileSystemStorage"},
    "staticfiles": {"BACKEND": "whitenoise.storage.CompressedManifestStaticFilesStorage"},
}

REDIS_URL = ENV.redis_or_embedded_url
KEY_PEPPER = key_pepper(ENV, DATA_DIR)
SPOOL_DIR = DATA_DIR / "spool"
USAGE_RETENTION_DAYS = ENV.usage_retention_days
ALERT_OPTIONS = ENV.alert_options
LOGIN_REFRESH = ENV.login_refresh
EMAIL_HOST, EMAIL_PORT, EMAIL_TIMEOUT = ENV.email_host, ENV.email_port, 10
EMAIL_USE_TLS, EMAIL_USE_SSL = ENV.email_security == "starttls", ENV.email_security == "tls"
EMAIL_HOST_USER, EMAIL_HOST_PASSWORD = ENV.email_host_user, ENV.email_host_password.get_secret_value()
DEFAULT_FROM_EMAIL = ENV.email_from
CONTENT_RETENTION_DAYS = ENV.content_retention_days

SESSIONS_STORE_TTL = ENV.session_cache_ttl_sec
SESSIONS_STORE_MAX = ENV.session_cache_max_entries

LOGGING = logging_config(ENV.log_level, ENV.log_format)

CELERY_BROKER_URL = ENV.celery_broker_url
CELERY_BROKER_CONNECTION_RETRY_ON_STARTUP = True
# A task that outlives its time limit must not be handed to a second worker before it.
CELERY_BROKER_CONNECTION_MAX_RETRIES = None  # however long Redis is away
CELERY_BROKER_CHANNEL_ERROR_RETRY = True  # also one that has become a replica, or is full
CELERY_TASK_PUBLISH_RETRY_POLICY = {"max_retries": 1, "interval_start": 0.2, "interval_step": 0, "interval_max": 0.2}
CELERY_WORKER_ENABLE_PREFETCH_COUNT_REDUCTION = False
CELERY_BROKER_TRANSPORT_OPTIONS = {
    "visibility_timeout": 600,
    "global_keyprefix": redis_keys.CELERY,
    "socket_connect_timeout": 2,
    "socket_timeout": 4,  # longer than the second that a worker lets Redis wait for a task
    "health_check_interval": 2,  # a connection that is silent for 5 s is made anew
    "retry_on_timeout": False,
}
CELERY_BEAT_SCHEDULER = "gateway_project.beat:ResilientScheduler"
# The shortest schedule is 2 s; beat checks for changed ones this often.
CELERY_BEAT_MAX_LOOP_INTERVAL = 5
CELERY_BEAT_SYNC_EVERY = 10  # runs, until the console shows them: half a minute at most
CELERY_TASK_ACKS_LATE = True
CELERY_TASK_REJECT_ON_WORKER_LOST = True
CELERY_TASK_IGNORE_RESULT = True
CELERY_RESULT_EXPIRES = None  # there are no results, so beat need not schedule their cleaning
CELERY_TASK_TIME_LIMIT = 120
CELERY_TASK_SOFT_TIME_LIMIT = 100
CELERY_WORKER_PREFETCH_MULTIPLIER = 1
CELERY_WORKER_HIJACK_ROOT_LOGGER = False
CELERY_TIMEZONE = ENV.time_zone
