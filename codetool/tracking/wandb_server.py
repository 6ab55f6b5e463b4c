"""Find the API key of a W&B server, and check that the server answers and accepts it."""

from __future__ import annotations

import netrc
import os
from pathlib import Path
from urllib.parse import urlsplit

VIEWER_QUERY = {"query": "query { viewer { username } }"}
PUBLIC_DOMAIN = "coreweave.com"
FORMER_PUBLIC_HOST = "api.wandb.ai"
"""Former host name of the public server, now a host of PUBLIC_DOMAIN; netrc files may still have it."""


class WandbError(Exception):
    """A problem with W&B; its text is a short reason."""


def find_api_key(base_url: str) -> str | None:
    """Return the API key for the server, from WANDB_API_KEY or else from the netrc file; None if there is none."""
    if key := os.environ.get("WANDB_API_KEY", "").strip():
        return key
    host = urlsplit(base_url).netloc
    hosts = [host, FORMER_PUBLIC_HOST] if host.endswith(PUBLIC_DOMAIN) else [host]
    netrc_file = os.environ.get("NETRC")
    for path in [Path(netrc_file)] if netrc_file else [Path.home() / ".netrc", Path.home() / "_netrc"]:
        try:
            entries = netrc.netrc(path.expanduser()).hosts
        except (OSError, netrc.NetrcParseError):
            continue
        if keys := [entries[name][2] for name in hosts if name in entries]:
            return keys[0]
    return None


def check_server(base_url: str, key: str, seconds: float) -> None:
    """Raise WandbError unless the server answers within `seconds` and accepts the key."""
    import httpx

    host = urlsplit(base_url).netloc
    try:
        answer = httpx.post(f"{base_url}/graphql", json=VIEWER_QUERY, auth=("api", key), timeout=seconds)
    except httpx.TimeoutException as error:
        raise WandbError(f"{host} did not answer within {seconds:g} s") from error
    except (httpx.HTTPError, httpx.InvalidURL, OSError) as error:
        raise WandbError(f"{host} cannot be reached ({error})") from error
    if answer.status_code in (401, 403):
        raise WandbError(f"{host} does not accept the API key")
    if not answer.is_success:
        raise WandbError(f"{host} answered {answer.status_code}")
    try:
        viewer = answer.json()["data"]["viewer"]
    except (ValueError, KeyError, TypeError) as error:
        raise WandbError(f"{host} gave an answer that is not W&B's") from error
    if not viewer:
        raise WandbError(f"{host} does not accept the API key")
