"""The tables of access: teams, keys as digests, one row per turn and its sums, tokens, and the audit log."""

from accounts.models.audit import AuditEntry as AuditEntry
from accounts.models.content import UsageContent as UsageContent
from accounts.models.hour import BOUNDS_MS as BOUNDS_MS
from accounts.models.hour import UsageHour as UsageHour
from accounts.models.idempotency import IdempotentRequest as IdempotentRequest
from accounts.models.key import ApiKey as ApiKey
from accounts.models.key import ApiKeyQuerySet as ApiKeyQuerySet
from accounts.models.open_turn import AdmittedHour as AdmittedHour
from accounts.models.open_turn import OpenTurn as OpenTurn
from accounts.models.open_turn import WaitingAmendment as WaitingAmendment
from accounts.models.policy import LIMITS as LIMITS
from accounts.models.policy import SCOPES as SCOPES
from accounts.models.policy import Policy as Policy
from accounts.models.policy import names_in as names_in
from accounts.models.policy import validate_models as validate_models
from accounts.models.policy import validate_scopes as validate_scopes
from accounts.models.team import Team as Team
from accounts.models.token import ApiToken as ApiToken
from accounts.models.total import UsageTotal as UsageTotal
from accounts.models.usage import CALLER_FAULTS as CALLER_FAULTS
from accounts.models.usage import FAILED as FAILED
from accounts.models.usage import GATEWAY_FAULTS as GATEWAY_FAULTS
from accounts.models.usage import OUTCOME_COLOURS as OUTCOME_COLOURS
from accounts.models.usage import TURNED_AWAY as TURNED_AWAY
from accounts.models.usage import Usage as Usage
from accounts.models.usage import UsageQuerySet as UsageQuerySet
