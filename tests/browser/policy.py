"""Content policies: what a page tells the browser to allow, and what the browser has kept the page from."""

WATCH = """
window.violations = [];
document.addEventListener("securitypolicyviolation", (event) => {
  window.violations.push(`${event.violatedDirective} ${event.blockedURI} ${event.sourceFile}:${event.lineNumber}`);
});
"""
"""A script for each page to begin with."""
FOUND = "() => new Promise(told => requestIdleCallback(() => told(window.violations), {timeout: 10000}))"
"""Once the page has nothing left to do: what it did last may be what was not allowed."""


def assert_kept(page, answer):
    """The page that is there, as it was answered, has a policy and does nothing against it."""
    assert "frame-ancestors 'none'" in answer.headers["content-security-policy"], page.url
    assert answer.headers["permissions-policy"]
    assert answer.headers["referrer-policy"] == "same-origin"
    violations = page.evaluate(FOUND)
    assert violations == [], f"{page.url}: {violations}"
