"""Names and shapes of secrets: environment variables, request arguments, headers, and keys of well-known services.

This is the only such list. It decides what W&B and model servers are not given, what is masked in files, which URLs are
refused in settings, and what is removed from recorded calls.
"""

from __future__ import annotations

import re

SECRET_ARGUMENTS = frozenset(
    """
    accesskey accesstoken apikey apisecret apitoken auth authorization authtoken bearer bearertoken clientsecret
    consumersecret cookie guestsessionid idtoken jwt oauthtoken passwd password privatekey proxyauthorization
    rapidapikey refreshtoken requesttoken secret secretkey sessionid sessiontoken setcookie subscriptionkey toolbenchkey
    xapikey xauthtoken xrapidapikey
    """.split()
)
"""Arguments and headers that are secrets at every service, in the form of `normalize_name`. Names that are secrets at
some services only (`key`, `token`) are left to the settings of those services."""

SERVICE_KEY_PREFIX = (
    r"(?:(?:sk|pk|rk|gsk|csk|hf|ghp|gho|github_pat|glpat|xai|nvapi|pplx|tgp_v1|fw|r8)[-_]|AIza|AKIA|eyJ)"
)
"""Regular expression of how keys of well-known services begin."""

_VARIABLE_PATTERN = re.compile(r"KEY|TOKEN|SECRET|PASSW|PASSPHRASE|_PWD$|CREDENTIAL|COOKIE|JWT", re.IGNORECASE)
_ARGUMENT_PATTERN = re.compile(
    r"(^|[^a-z])(code|jwt|pwd|sas|sig)$|key|token|secret|passw|signature|auth|bearer|credential|cookie|session",
    re.IGNORECASE,
)
_PUNCTUATION = re.compile(r"[\W_]")


def is_secret_variable(name: str) -> bool:
    """Whether an environment variable of this name holds a secret, whose value must not leave the machine."""
    return _VARIABLE_PATTERN.search(name) is not None


def may_be_secret_argument(name: str) -> bool:
    """Whether a query argument of this name may hold a secret at some service: a wider test than `SECRET_ARGUMENTS`.

    It is for URLs in settings and in command lines, where a false alarm costs little.
    """
    return _ARGUMENT_PATTERN.search(name) is not None


def normalize_name(name: str) -> str:
    """Return the name of an argument or header in lower case, with letters and digits only."""
    return _PUNCTUATION.sub("", name.lower())
