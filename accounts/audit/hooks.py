"""
Hangs the audit log onto the watched models, so that no way to change them passes it by: `save`, `delete`, changes of
many-to-many fields, and the query sets' `update` and `bulk_create`.

Row and change are one transaction. The values before and after are read from the database: an object in memory may be
older than its row, or have expressions in place of values.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from functools import partial, wraps
from typing import Any, Final

from django.apps import apps
from django.db import models, router, transaction
from django.db.models.signals import m2m_changed, post_delete, pre_delete
from django.utils import timezone

from accounts.audit import context
from accounts.audit.entries import Changes, record, record_all, record_object
from accounts.audit.texts import names_of, text_of
from accounts.audit.watched import CHANGED, CREATED, DELETED, MODELS, Values, Watched

MOST: Final = 2000
"""Objects of one `update` with a row for each; of more, one row says how many."""


def install() -> None:
    """Watch the models; called once all apps are loaded, and does nothing the second time."""
    for label, watched in MODELS.items():
        app, _, name = label.partition(".")
        if app in apps.app_configs:
            _watch(apps.get_model(app, name), watched)


def _watch(model: Any, watched: Watched) -> None:
    # A second time would record each change twice.
    if hasattr(model, "audited"):
        return
    model.audited = watched
    model.save_base = _recorded_save(model.save_base)
    for manager in model._meta.managers:
        _record_query_sets(manager)
    uid = f"audit.{model._meta.label}"
    pre_delete.connect(_deleting, sender=model, dispatch_uid=uid)
    post_delete.connect(_deleted, sender=model, dispatch_uid=uid)
    for field in model._meta.local_many_to_many:
        # Not weakly: nothing else refers to the partial, and Django would forget it.
        receiver = partial(_linked, field=field)
        m2m_changed.connect(receiver, sender=field.remote_field.through, weak=False, dispatch_uid=f"{uid}.{field.name}")


def _recorded_save(save_base: Callable[..., None]) -> Callable[..., None]:
    """`save_base` is where both `save` and `create` end, after the model's own `save`."""

    @wraps(save_base)
    def recorded(self: models.Model, *args: Any, **options: Any) -> None:
        fields = _fields(type(self), options.get("update_fields"))
        # Raw is `loaddata`, which puts back what there was.
        if options.get("raw") or not fields or not context.is_recording():
            return save_base(self, *args, **options)
        using = options.get("using") or router.db_for_write(type(self), instance=self)
        with transaction.atomic(using=using):
            # A given id may be new all the same: then nothing is found below, and it counts as created.
            is_new = self.pk is None or options.get("force_insert")
            before = None if is_new else _rows(type(self), [self.pk], fields, using).get(self.pk)
            save_base(self, *args, **options)
            _saved(self, fields, before, _rows(type(self), [self.pk], fields, using)[self.pk])
        return None

    return recorded


def _saved(instance: Any, fields: list[Any], before: Values | None, after: Values) -> None:
    if before is None:
        record_object(CREATED, instance, _beginnings(fields, after))
    elif changes := _changes(fields, before, after):
        record_object(instance.audited.action(before, after), instance, changes)


def _deleting(sender: Any, instance: Any, **_: Any) -> None:
    # Before anything goes: the object's text may be made of others that go with it.
    if context.is_recording():
        deferred = instance.get_deferred_fields()
        fields = [field for field in _fields(sender, None) if field.attname not in deferred]
        values = {field.attname: getattr(instance, field.attname) for field in fields}
        lost = {name: [text, None] for name, (_, text) in _beginnings(fields, values).items()}
        instance.__dict__["_deleting"] = (str(instance), lost)


def _deleted(instance: Any, **_: Any) -> None:
    # In the transaction of the deletion.
    if found := instance.__dict__.pop("_deleting", None):
        record_object(DELETED, instance, found[1], found[0])


class RecordedQuerySet(models.QuerySet[Any]):
    """A query set whose changes of many rows at once are recorded, a row for each object."""

    def update(self, **values: Any) -> int:
        fields = _fields(self.model, {_name_of(self.model, name) for name in values})
        if not fields or not context.is_recording():
            return super().update(**values)
        with transaction.atomic(using=self.db):
            # Their ids first: afterwards the filter may find others.
            ids = list(self.order_by().values_list("pk", flat=True)[: MOST + 1])
            before = _rows(self.model, ids[:MOST], fields, self.db)
            changed = super().update(**values)
            if len(ids) > MOST:
                _updated_many(self.model, fields, values, changed)
            else:
                _updated(self.model, fields, before, self.db)
        return changed

    def bulk_create(self, objs: Iterable[Any], *args: Any, **options: Any) -> list[Any]:
        with transaction.atomic(using=self.db):
            created = super().bulk_create(objs, *args, **options)
            if context.is_recording() and (fields := _fields(self.model, None)):
                values = [{field.attname: getattr(each, field.attname) for field in fields} for each in created]
                record_all(CREATED, zip(created, (_beginnings(fields, each) for each in values), strict=True))
        return created

    update.alters_data = True  # type: ignore[attr-defined]  # Django keeps templates from calling what says so


# Under the name of Django's plain manager: tools look up a manager by its path.
RecordedManager: Any = type(
    "Manager", (models.Manager,), {"_queryset_class": RecordedQuerySet, "__module__": models.Manager.__module__}
)


def _record_query_sets(manager: Any) -> None:
    kind = type(manager)
    if kind is models.Manager:
        # Its class and not only its query set: managers of related objects are made of that class.
        manager.__class__ = RecordedManager
    elif not issubclass(kind._queryset_class, RecordedQuerySet):
        inner = kind._queryset_class
        kind._queryset_class = type(f"Recorded{inner.__name__}", (RecordedQuerySet, inner), {"__module__": __name__})


def _updated(model: Any, fields: list[Any], before: dict[Any, Values], using: str) -> None:
    after = _rows(model, list(before), fields, using)
    objects = model._base_manager.using(using).in_bulk(list(after))
    by_action: dict[str, list[tuple[Any, Changes]]] = {}
    for key, was in before.items():
        if key in after and (changes := _changes(fields, was, after[key])):
            by_action.setdefault(model.audited.action(was, after[key]), []).append((objects[key], changes))
    # One row alone may be part of the last one, as for a single object; many are rows by themselves.
    for action, pairs in by_action.items():
        record_all(action, pairs) if len(pairs) > 1 else record_object(action, *pairs[0])


def _updated_many(model: Any, fields: list[Any], values: dict[str, Any], changed: int) -> None:
    texts = {
        field.name: [None, text_of(field, value)]
        for field in fields
        if not hasattr(value := values.get(field.name, values.get(field.attname)), "resolve_expression")
    }
    record(CHANGED, model._meta.label_lower, "", f"{changed} × {model._meta.verbose_name_plural}", texts)


def _linked(action: str, instance: Any, reverse: bool, pk_set: set[Any] | None, field: Any, **_: Any) -> None:
    """Of a many-to-many field: who was linked before an `add`, `remove` or `clear`, compared with after it."""
    when = action.partition("_")[0]
    if not context.is_recording():
        return
    if when == "pre":
        owners = [instance] if not reverse else _owners(field, instance, pk_set)
        # On the instance: signals of one change come with the same one.
        instance.__dict__[f"_linked_{field.name}"] = [(each, names_of(_linked_to(field, each))) for each in owners]
        return
    for owner, before in instance.__dict__.pop(f"_linked_{field.name}", []):
        after = names_of(_linked_to(field, owner))
        if before != after:
            record_object(CHANGED, owner, {field.name: [before, after]})


def _linked_to(field: Any, owner: Any) -> Iterable[models.Model]:
    objects: Iterable[models.Model] = getattr(owner, field.name).all()
    return objects


def _owners(field: Any, instance: Any, pk_set: set[Any] | None) -> list[Any]:
    """From the other side, as in `user.teams.add(team)`, the objects that have the field."""
    owners = field.model._base_manager.all()
    found = owners.filter(**{field.name: instance}) if pk_set is None else owners.filter(pk__in=pk_set)
    return list(found[:MOST])


def _fields(model: Any, names: Iterable[str] | None) -> list[Any]:
    """The recorded columns among these; None: all."""
    if not hasattr(model, "audited"):
        return []  # of a migration, whose models have our managers and nothing else of ours
    wanted = None if names is None else frozenset(names)
    return [
        field
        for field in model._meta.concrete_fields
        if not field.primary_key
        and field.name not in model.audited.ignored
        and (wanted is None or field.name in wanted or field.attname in wanted)
    ]


def _name_of(model: Any, name: str) -> str:
    return str(model._meta.pk.name) if name == "pk" else name


def _rows(model: Any, ids: list[Any], fields: list[Any], using: str) -> dict[Any, Values]:
    # Locked: nobody changes them between this and the change.
    found = model._base_manager.using(using).filter(pk__in=ids).select_for_update()
    return {row.pop("pk"): row for row in found.values("pk", *(field.attname for field in fields))}


def _changes(fields: list[Any], before: Values, after: Values) -> Changes:
    return {
        field.name: [text_of(field, before[field.attname]), text_of(field, after[field.attname])]
        for field in fields
        if before[field.attname] != after[field.attname]
    }


def _beginnings(fields: list[Any], values: Values) -> Changes:
    """Of a new object, what is not empty and not as usual."""
    return {
        field.name: [None, text_of(field, value)]
        for field in fields
        if (value := values[field.attname]) not in (None, "")
        # What the database fills in is not known here, and the time is that of the row.
        and not hasattr(value, "resolve_expression")
        and field.default is not timezone.now
        and value != field.get_default()
    }
