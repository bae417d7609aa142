"""Aliases and prompts in the admin console: what operators say of models, tried out where it is said."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, ClassVar, cast

from django import forms
from django.conf import settings
from django.contrib import admin, messages
from django.core.exceptions import PermissionDenied
from django.db.models import Max
from django.http import HttpRequest, HttpResponse
from django.template.response import TemplateResponse
from django.urls import path
from django.utils.functional import lazy
from django.utils.html import format_html, format_html_join
from django.utils.safestring import SafeString
from django.utils.translation import gettext
from django.utils.translation import gettext_lazy as _
from unfold.admin import ModelAdmin
from unfold.decorators import display
from unfold.widgets import UnfoldAdminTextareaWidget, UnfoldAdminTextInputWidget

from accounts.audit.history import AuditHistory
from bridge.chat.request import AUTO, Tool
from bridge.models import ModelAlias, PromptTemplate, RoutingRow
from bridge.prompt.profile import PLACEHOLDERS, check
from bridge.prompt.tool_instructions import tool_instructions
from bridge.routing.explain import explain, offered_names
from bridge.routing.watcher import profile_of
from gateway_project.lib.pages.cells import cut
from gateway_project.lib.pages.lookups import ClosedLookups
from gateway_project.lib.translated import translated

STEP = 10
SAMPLES = (
    Tool(
        "read_file",
        "Reads a text file and returns its content.",
        b'{"type":"object","properties":{"path":{"type":"string","description":"Path of the file"},'
        b'"limit":{"type":"integer","minimum":1}},"required":["path"]}',
    ),
    Tool(
        "run_command",
        "Runs a command in a shell and returns what it prints.",
        b'{"type":"object","properties":{"command":{"type":"string"},"timeout":{"type":"number"}},'
        b'"required":["command"]}',
    ),
)


class RoutingAdmin(AuditHistory, ClosedLookups, ModelAdmin):
    """What both lists have in common: rows in the order in which they count."""

    ordering = ("position", "id")
    ordering_field = "position"
    list_editable = ("enabled", "position")
    list_per_page = 200
    sortable_by = ()
    warn_unsaved_form = True

    def get_changelist_form(self, request: HttpRequest, **kwargs: Any) -> Any:
        """Fields of a list have no labels: each says what it sets, and of which row.

        With each goes what the page showed: what nobody has edited there stays as somebody else has set it meanwhile.
        """
        form: Any = super().get_changelist_form(request, **kwargs)

        class NamedForm(form):
            def __init__(self, *args: Any, **values: Any) -> None:
                super().__init__(*args, **values)
                for name, field in self.fields.items():
                    field.widget.attrs["aria-label"] = f"{field.label}: {self.instance}"
                    field.show_hidden_initial = not self.is_bound or self.add_initial_prefix(name) in self.data

            def clean(self) -> Any:
                found = super().clean() or self.cleaned_data
                return found | {
                    name: getattr(self.instance, name) for name in found.keys() - {*self.changed_data, "id"}
                }

        return NamedForm

    def get_changeform_initial_data(self, request: HttpRequest) -> dict[str, Any]:
        """A new row comes last."""
        model: type[RoutingRow] = self.model
        last = model._default_manager.aggregate(last=Max("position"))["last"] or 0
        initial: dict[str, Any] = super().get_changeform_initial_data(request)
        return {"position": last + STEP} | initial


class OfferedModel(UnfoldAdminTextInputWidget):
    """A text field that suggests what accounts offer now."""

    def render(self, name: str, value: Any, attrs: Any = None, renderer: Any = None) -> SafeString:
        field = super().render(name, value, {**(attrs or {}), "list": f"{name}-offered"}, renderer)
        titles = {key: title for title, key in offered_now().items() if title != key}
        options = format_html_join("", '<option value="{}">{}</option>', titles.items())
        return format_html('{}<datalist id="{}-offered">{}</datalist>', field, name, options)


class UniquePattern(forms.ModelForm):
    """Says beside the pattern that there is another like it."""

    taken: Any  # a lazy text

    def clean_pattern(self) -> str:
        """Whatever its case, as names have none."""
        pattern: str = self.cleaned_data["pattern"].strip()
        others = self._meta.model._default_manager.exclude(pk=self.instance.pk)
        if others.filter(pattern__iexact=pattern).exists():
            raise forms.ValidationError(self.taken)
        return pattern


class AliasForm(UniquePattern):
    """Suggests models, and says what the settings say."""

    taken = _("Another alias has this pattern.")

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        env = settings.ENV
        ask_mode = ModelAlias.AskMode(env.default_ask_mode)
        tool_mode = ModelAlias.ToolMode("forward" if env.tool_forward_enabled else env.tool_mode)
        blanks = {"ask_mode": ask_mode, "tool_mode": tool_mode, "thinking": ModelAlias.Thinking.OFF}
        for name in blanks.keys() & self.fields.keys():  # who may only look has none
            field = cast("forms.ChoiceField", self.fields[name])
            choices = self._meta.model._meta.get_field(name).choices or []
            field.choices = [("", gettext("as usual: %(choice)s") % {"choice": blanks[name].label}), *choices]

    class Meta:
        widgets: ClassVar = {"lingma_model": OfferedModel}


@admin.register(ModelAlias)
class ModelAliasAdmin(RoutingAdmin):
    """Names of models, and what they mean here."""

    form = AliasForm
    list_display = ("header", "target", "modes", "enabled", "position")
    list_filter = ("enabled",)
    search_fields = ("pattern", "lingma_model", "display_name", "note")
    list_before_template = "admin/bridge/modelalias/try_form.html"
    fieldsets: ClassVar = [
        (None, {"fields": ["pattern", "lingma_model", "display_name", "note"]}),
        (_("Modes"), {"fields": ["ask_mode", "tool_mode", "thinking"]}),
        (_("When it counts"), {"fields": ["position", "enabled"]}),
    ]
    empty_icon = "alt_route"
    empty_title = _("No aliases")
    empty_hint = _(
        "An alias says which Lingma model a name such as claude-sonnet-4-5 or gpt-5 means. Without one, names that "
        "the account does not offer mean the default model."
    )

    def get_urls(self) -> list[Any]:
        """Also the page that tries a name."""
        page = path("try/", self.admin_site.admin_view(self.try_view), name="bridge_modelalias_try")
        return [page, *super().get_urls()]

    def try_view(self, request: HttpRequest) -> HttpResponse:
        """What the name in `?name=` would become."""
        if not self.has_view_permission(request):
            raise PermissionDenied
        name = request.GET.get("name", "").strip()
        context = self.admin_site.each_context(request) | {
            "title": gettext("What would this name become?"),
            "opts": self.opts,
            "asked": name,
            "explanation": explain(name, default(), offered_now()) if name else None,
            "env": settings.ENV,
        }
        return TemplateResponse(request, "admin/bridge/modelalias/try.html", context)

    def get_changelist_instance(self, request: HttpRequest) -> Any:
        """The rows know what is offered now."""
        changes = super().get_changelist_instance(request)
        offered = offered_now()
        for row in changes.result_list:
            row.offered = offered
        return changes

    def save_model(self, request: HttpRequest, obj: ModelAlias, form: Any, change: bool) -> None:
        """A model that is not offered may be right tomorrow, so it is told and not refused."""
        super().save_model(request, obj, form, change)
        if "lingma_model" in form.changed_data and is_missing(obj, offered_now()):
            warning = gettext("The account does not offer %(model)s now. Until it does, %(default)s answers.")
            messages.warning(request, warning % {"model": obj.lingma_model, "default": default()})

    @display(description=_("Names"), header=True)
    def header(self, obj: ModelAlias) -> tuple[str, str]:
        return cut(obj.pattern), cut(obj.note)

    @display(description=_("Lingma model"), header=True)
    def target(self, obj: ModelAlias) -> tuple[str, str]:
        """What answers; what is not offered is told."""
        if not obj.lingma_model:
            return default(), gettext("the default model")
        if not is_missing(obj, getattr(obj, "offered", {})):
            return obj.lingma_model, ""
        return obj.lingma_model, gettext("not offered now: %(default)s answers") % {"default": default()}

    @display(description=_("Modes"))
    def modes(self, obj: ModelAlias) -> str | None:
        said = [str(obj.get_ask_mode_display())]
        if obj.tool_mode:
            said.append(gettext("tools: %(mode)s") % {"mode": obj.get_tool_mode_display()})
        if obj.thinking:
            said.append(gettext("thinking: %(mode)s") % {"mode": obj.get_thinking_display()})
        return ", ".join(filter(None, said)) or None


def offered_now() -> dict[str, str]:
    """What accounts offer, by name."""
    return offered_names(settings.REDIS_URL)


def default() -> str:
    """The key of the model that answers to what nobody knows."""
    name: str = settings.ENV.default_model
    return name


def is_missing(alias: ModelAlias, offered: Mapping[str, str]) -> bool:
    """Whether it is known that no account offers the alias's model."""
    wanted = alias.lingma_model
    return bool(wanted and offered) and wanted not in offered and wanted.lower() not in offered


def placeholder_help() -> SafeString:
    """What a template may have in it."""
    meanings = ((name, gettext(meaning)) for name, meaning in PLACEHOLDERS.items())
    return format_html(
        gettext("{name} stands for: {placeholders}. {sign} is the sign itself."),
        name=format_html("<code>{}</code>", "$name"),
        placeholders=format_html_join("; ", "<code>${}</code> {}", meanings),
        sign=format_html("<code>{}</code>", "$$"),
    )


class PromptForm(UniquePattern):
    """The template is read as it will be sent: in one width."""

    taken = _("Another prompt has this pattern.")

    class Meta:
        widgets: ClassVar = {"template": UnfoldAdminTextareaWidget(attrs={"rows": 24, "class": "gw-mono"})}
        help_texts: ClassVar = {"template": lazy(placeholder_help, str)()}


@admin.register(PromptTemplate)
class PromptTemplateAdmin(RoutingAdmin):
    """How models are told of tools."""

    form = PromptForm
    list_display = ("header", "description_chars", "enabled", "position")
    list_filter = ("enabled",)
    search_fields = ("pattern", "note", "template")
    readonly_fields = ("preview",)
    fieldsets: ClassVar = [
        (None, {"fields": ["pattern", "note", "template", "description_chars", "native_calls"]}),
        (_("When it counts"), {"fields": ["position", "enabled"]}),
        (_("Preview"), {"fields": ["preview"]}),
    ]
    empty_icon = "edit_note"
    empty_title = _("The shipped prompt is used for every model")
    empty_hint = _(
        "Tools of a request are told to the model in its prompt. Where a model needs other words, add them here for "
        "its name; a new prompt begins with the shipped text."
    )

    @display(description=_("Lingma models"), header=True)
    def header(self, obj: PromptTemplate) -> tuple[str, str]:
        return cut(obj.pattern), cut(obj.note)

    @display(description=_("As last saved"))
    def preview(self, obj: PromptTemplate) -> SafeString:
        """The instructions on two tools, as a model gets them."""
        if problems := check(obj.template):
            return format_html("<p>{}</p>", " ".join(map(translated, problems)))
        text = tool_instructions(SAMPLES, AUTO, parallel=True, delimiter_id="k3v9x2m7qd", profile=profile_of(obj))
        return format_html('<div class="gw-text gw-wrapped"><pre>{}</pre></div>', text)
