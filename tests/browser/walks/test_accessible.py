"""What axe finds on every page, light and dark, wide and narrow: nothing serious but what is listed, and why."""

import json
import re
from importlib.resources import files

import pytest

from tests.browser.walks.steps import shows
from tests.e2e.formats import OPENAI, send
from tests.e2e.installation import KEY, OTHER_KEY, PASSWORD, django

AXE = (files("axe_playwright_python") / "axe.min.js").read_text()
RUN = """
async rules => {
  const found = await axe.run(document, {resultTypes: ['violations'], runOnly: rules})
  return found.violations.filter(each => ['serious', 'critical'].includes(each.impact))
    .map(each => [each.id, each.nodes.map(node => node.target.join(' ')).slice(0, 5)])
}
"""
LEVELS = {"type": "tag", "values": ["wcag2a", "wcag2aa", "wcag21a", "wcag21aa", "wcag22aa"]}
COLOURS = {"type": "rule", "values": ["color-contrast", "link-in-text-block"]}
SIZES = {"type": "rule", "values": ["target-size", "scrollable-region-focusable"]}
LOOKS = (("light", 1440, LEVELS), ("dark", 1440, COLOURS), ("dark", 390, SIZES))
"""What else is looked for depends neither on the colours nor on the width."""

OURS = (
    "/usage/?range=7d", "/usage/?range=7d&reason=none", "/usage/?status=odd", "/usage/rows/?range=7d",
    "/usage/r/{request_id}", "/usage/r/req_00000000000000000000000000000000", "/display/", "/me/",
)  # fmt: skip
CONSOLE = (
    "", "accounts/apikey/", "accounts/apikey/add/", "accounts/apikey/{key_id}/change/",
    "accounts/apikey/{key_id}/history/", "accounts/apikey/{key_id}/rotate/", "accounts/apikey/{key_id}/revoke/",
    "accounts/apikey/whose/", "accounts/team/", "accounts/team/add/", "accounts/team/{team_id}/change/",
    "accounts/usage/", "accounts/usage/{row_id}/change/", "accounts/auditentry/",
    "accounts/auditentry/{entry_id}/change/", "bridge/instance/", "bridge/instance/w1-i1/change/",
    "bridge/login/", "bridge/login/add/", "bridge/login/spread/",
    "sessions_store/entry/", "bridge/modelalias/", "bridge/modelalias/add/", "bridge/modelalias/try/?name=gpt-5",
    "bridge/prompttemplate/", "bridge/prompttemplate/add/", "django_celery_beat/periodictask/",
    "django_celery_beat/periodictask/1/change/", "auth/user/", "auth/user/add/", "auth/user/1/change/",
    "auth/group/1/change/", "password_change/",
)  # fmt: skip
BARS = "A bar a minute or a day is narrow on a phone; the table below the bars has the same links."
LEFT = {("/admin/", "target-size"): BARS, ("/admin/accounts/apikey/{key_id}/change/", "target-size"): BARS}
"""By page and rule: why it stays."""

IDS = """
import json
from accounts.keys import services
from accounts.models import ApiKey, AuditEntry, Team, Usage
services.create(ApiKey(name="looked at"))
row = Usage.objects.filter(status="ok").first()
print(json.dumps({"key_id": ApiKey.objects.get(name="bob").pk, "team_id": Team.objects.get(name="core").pk,
                  "row_id": row.pk, "request_id": row.request_id, "entry_id": AuditEntry.objects.first().pk}))
"""


@pytest.fixture(scope="module")
def page(browser, whole):
    """A page of the superuser; its policy lets axe in, and is looked at elsewhere."""
    context = browser.new_context(base_url=f"http://127.0.0.1:{whole.port}", bypass_csp=True)
    page = context.new_page()
    page.goto("/login/?next=/usage/")
    page.fill("input[name=username]", "admin")
    page.fill("input[name=password]", PASSWORD)
    page.press("input[name=password]", "Enter")
    page.wait_for_url(re.compile("^[^?]*/usage/$"))
    for key in (KEY, OTHER_KEY):
        answer = send(whole, "POST", OPENAI.path, key=key, body=OPENAI.body("[[sim: text=hello]] x"))
        assert shows(page, f"/usage/r/{answer.headers['x-request-id']}", "Answered in full")
    yield page
    context.close()


@pytest.fixture(scope="module")
def ids(page, whole):
    return json.loads(django(whole.directory, IDS))


def findings(page, address):
    """{rule: where} of all looks at a page, which is loaded once."""
    page.emulate_media(color_scheme="light")
    page.set_viewport_size({"width": 1440, "height": 900})
    page.goto(address)
    page.evaluate(AXE)
    found = {}
    for scheme, width, rules in LOOKS:
        page.emulate_media(color_scheme=scheme)
        page.set_viewport_size({"width": width, "height": 900})
        page.wait_for_function("() => document.getAnimations().every(each => each.playState !== 'running')")
        for rule, places in page.evaluate(RUN, rules):
            found.setdefault(rule, []).append((scheme, width, places))
    return found


@pytest.mark.parametrize("address", [*OURS, *(f"/admin/{each}" for each in CONSOLE)])
def test_nothing_serious_is_found(page, ids, address):
    found = findings(page, address.format(**ids))
    assert {rule: found[rule] for rule in found if (address, rule) not in LEFT} == {}
    # What was mended leaves the list.
    assert {rule for at, rule in LEFT if at == address} <= found.keys()
