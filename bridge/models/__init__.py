"""The tables of this app."""

from bridge.models.attempt import LoginAttempt as LoginAttempt
from bridge.models.instance import Instance as Instance
from bridge.models.login import CHANGES_OF_SERVICE as CHANGES_OF_SERVICE
from bridge.models.login import TIMES as TIMES
from bridge.models.login import Login as Login
from bridge.models.login import LoginRefresh as LoginRefresh
from bridge.models.maintenance import MaintenanceWindow as MaintenanceWindow
from bridge.models.order import InstanceOrder as InstanceOrder
from bridge.models.order import announce_orders as announce_orders
from bridge.models.pool_size import PoolSize as PoolSize
from bridge.models.routing import ModelAlias as ModelAlias
from bridge.models.routing import PromptTemplate as PromptTemplate
from bridge.models.routing import RoutingQuerySet as RoutingQuerySet
from bridge.models.routing import RoutingRow as RoutingRow
from bridge.models.routing import check_pattern as check_pattern
from bridge.models.routing import shipped_description_chars as shipped_description_chars
from bridge.models.routing import shipped_template as shipped_template
from bridge.models.sign_in_page import SignInPage as SignInPage
from bridge.models.version import Version as Version
