"""The text that is shown when the gateway is up: its addresses, its upstream, a first request to paste."""

import msgspec

from bridge.lingma.transport.urls import shown
from gateway_project.env import Environment

KEY_PLACEHOLDER = "$LINGMA_GATEWAY_KEY"


class Bootstrapped(msgspec.Struct, frozen=True):
    """What bootstrap created in this start; a secret is None when it existed before. Shown once, stored nowhere."""

    admin_username: str | None = None
    admin_password: str | None = None
    api_key: str | None = None


def base_url(env: Environment) -> str:
    """Where this machine reaches the gateway."""
    # A wildcard is no address that one can connect to.
    host = {"0.0.0.0": "127.0.0.1", "::": "::1"}.get(env.host, env.host)  # noqa: S104 - compared, not bound
    return f"http://[{host}]:{env.port}" if ":" in host else f"http://{host}:{env.port}"


def upstream(env: Environment, runs: str) -> list[str]:
    match env.upstream:
        case "simulator" if runs == "lingma":
            return ["Lingma, the installed version that is the default"]
        case "simulator":
            return [
                "THE SIMULATOR. No Lingma is running: every answer is made up.",
                "Set LINGMA_BIN or LINGMA_VSIX for the real one.",
            ]
        case "attached":
            return [f"Lingma at {shown(url)}" for url in env.lingma_attach_urls]
        case _:
            return [f"Lingma, {env.lingma_instances} per web process: {env.lingma_bin or shown(env.lingma_vsix)}"]


def rows(env: Environment, bootstrapped: Bootstrapped, runs: str) -> list[tuple[str, str]]:
    """The lines of the box, as label and text."""
    url = base_url(env)
    # Two lines: OpenAI's SDKs want the address with /v1, Anthropic's without.
    shown = [("OpenAI base URL", f"{url}/v1"), ("Anthropic base URL", url), ("Admin console", f"{url}/admin/")]
    if bootstrapped.admin_username:
        shown.append(("", f"user {bootstrapped.admin_username}"))
    if bootstrapped.admin_password:
        shown.append(("", f"password {bootstrapped.admin_password}   (shown once)"))
    if bootstrapped.api_key:
        shown.append(("API key", f"{bootstrapped.api_key}   (shown once)"))
    first, *others = upstream(env, runs)
    return [*shown, ("Upstream", first), *(("", other) for other in others)]


def box(title: str, lines: list[tuple[str, str]]) -> str:
    texts = [title, "", *(f"{label:<20}{text}" for label, text in lines)]
    width = max(len(text) for text in texts)
    framed = [f"│ {text:<{width}} │" for text in texts]
    edge = "─" * (width + 2)
    return "\n".join([f"╭{edge}╮", *framed, f"╰{edge}╯"])


def first_request(env: Environment, bootstrapped: Bootstrapped) -> str:
    """A curl to paste. It streams, so that something moves at once."""
    # A model of Lingma's own, so that it works without any alias.
    body = '{"model":"org_auto","stream":true,"messages":[{"role":"user","content":"Hello, who are you?"}]}'
    return (
        f"curl -N {base_url(env)}/v1/chat/completions \\\n"
        f'  -H "Authorization: Bearer {bootstrapped.api_key or KEY_PLACEHOLDER}" \\\n'
        f'  -H "Content-Type: application/json" \\\n'
        f"  -d '{body}'"
    )


def summary(env: Environment, bootstrapped: Bootstrapped, state: str, runs: str = "") -> str:
    """The whole text; `state` ends its first line, such as `ready after 2.1 s`. `runs`: what answers, where known."""
    return f"\n{box(f'Lingma gateway, {state}', rows(env, bootstrapped, runs))}\n\n{first_request(env, bootstrapped)}\n"
