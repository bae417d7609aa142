"""Every page on a phone, in both languages.

None is wider than the screen, none breaks its content policy, and no Chinese one has English left.
"""

import pytest

from tests.browser.policy import WATCH, assert_kept
from tests.browser.walks.places import CONSOLE, OURS
from tests.e2e.installation import PASSWORD, django

PHONE = {"width": 390, "height": 844}
LONG = "A team whose name is longer than a phone is wide, and which is in every list of teams"
# Sentences of at least four English words without a Chinese one. Error texts are what the client was sent, and say
# that they are English; names, notes, and what a program printed are no texts of the page.
ENGLISH = """() => {
    const kept = 'script, style, template, pre, code, textarea, option, [lang=en], '
        + '.material-symbols-outlined, .result-list :is(.field-name, .field-header)';
    const texts = document.createTreeWalker(document.body, NodeFilter.SHOW_TEXT), found = [];
    while (texts.nextNode()) {
        const text = texts.currentNode.data.trim();
        if (texts.currentNode.parentElement.closest(kept) || /[\\u4e00-\\u9fff]/.test(text)) continue;
        if (/(\\b[A-Za-z]{2,}[,;:]? ){3}[A-Za-z]{2,}/.test(text)) found.push(text);
    }
    return found;
}"""


@pytest.fixture(scope="module", params=["en-US", "zh-CN"])
def language(request):
    return request.param


@pytest.fixture(scope="module")
def page(browser, whole, ids, language):
    django(whole.directory, f"from accounts.models import Team\nTeam.objects.get_or_create(name={LONG!r})")
    context = browser.new_context(base_url=f"http://127.0.0.1:{whole.port}", locale=language, viewport=PHONE)
    context.set_default_timeout(60_000)
    page = context.new_page()
    page.add_init_script(WATCH)
    page.goto("/login/?next=/display/")
    page.fill("input[name=username]", "admin")
    page.fill("input[name=password]", PASSWORD)
    page.press("input[name=password]", "Enter")
    page.wait_for_url("**/display/")
    yield page
    context.close()


@pytest.mark.parametrize("address", [*OURS, *(f"/admin/{each}" for each in CONSOLE)])
def test_page_fits_a_phone_in_its_language(page, ids, language, address):
    assert_kept(page, page.goto(address.format(**ids)))
    assert page.evaluate("document.documentElement.scrollWidth") <= PHONE["width"]
    if language == "zh-CN":
        assert [text for text in page.evaluate(ENGLISH) if not text.startswith(LONG[:12])] == []
