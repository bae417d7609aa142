from django.template import Context, Template
from hypothesis import given
from hypothesis import strategies as st

from accounts.pages.heat import Cell as HeatCell
from accounts.pages.markup import options, shortened, suggestions
from accounts.pages.tables import Cell
from accounts.pages.timeline import Bar

NASTY = "<b>&\"'通"
TEXTS = st.text(alphabet=[*NASTY, "a", " "], max_size=60)


def shown(template, **values):
    return Template(template).render(Context(values))


@given(TEXTS, TEXTS)
def test_cell_is_what_a_template_makes(text, href):
    made = '{% if href %}<a href="{{ href }}">{{ text }}</a>{% else %}{{ text }}{% endif %}'
    expected = shown(made, text=text, href=href)
    for cell in (Cell(text=text, href=href), HeatCell(turns=text, level=1, href=href)):
        assert shown("{{ cell }}", cell=cell) == expected


@given(TEXTS)
def test_short_text_is_what_a_filter_makes(text):
    assert shown("{{ text }}", text=shortened(text, 48)) == shown("{{ text|truncatechars:48 }}", text=text)


def test_choice_that_is_set_is_selected():
    made = str(options([("a", "A"), (NASTY, NASTY)], NASTY))
    nasty = shown("{{ text }}", text=NASTY)
    assert made == f'<option value="a">A</option><option value="{nasty}" selected>{nasty}</option>'
    assert suggestions([NASTY]) == f'<option value="{nasty}"></option>'


def test_bar_escapes_what_is_not_ours():
    bar = Bar(href=f"/?a={NASTY}", title=NASTY, x="1.00", width="2.00", pieces=[("ok", "3.00", "4.00")])
    assert "<b>" not in shown("{{ bar }}", bar=bar)
    assert '<rect class="bar-ok" x="1.00" width="2.00" y="3.00" height="4.00"/>' in shown("{{ bar }}", bar=bar)
