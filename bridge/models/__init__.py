"""The tables of this app."""

from bridge.models.instance import Instance as Instance
from bridge.models.order import InstanceOrder as InstanceOrder
from bridge.models.routing import ModelAlias as ModelAlias
from bridge.models.routing import PromptTemplate as PromptTemplate
from bridge.models.routing import RoutingQuerySet as RoutingQuerySet
from bridge.models.routing import RoutingRow as RoutingRow
from bridge.models.routing import check_pattern as check_pattern
from bridge.models.routing import shipped_description_chars as shipped_description_chars
from bridge.models.routing import shipped_template as shipped_template
