"""Which names belong to secrets: of environment variables, and of arguments and headers of requests.

One list for everything that keeps secrets away: what W&B and model servers are not given, what is cut out of calls.
"""

from __future__ import annotations

import re

_VARIABLE_PATTERN = re.compile(r"KEY|TOKEN|SECRET|PASSW|PASSPHRASE|_PWD$|CREDENTIAL|COOKIE|JWT", re.IGNORECASE)
"""What stands in the name of an environment variable whose value must not leave the machine."""

SECRET_ARGUMENTS = frozenset(
    """
    accesskey accesstoken apikey apisecret apitoken auth authorization authtoken bearer bearertoken clientsecret
    consumersecret cookie guestsessionid idtoken jwt oauthtoken passwd password privatekey proxyauthorization
    rapidapikey refreshtoken requesttoken secret secretkey sessionid sessiontoken setcookie subscriptionkey toolbenchkey
    xapikey xauthtoken xrapidapikey
    """.split()
)
"""Names of arguments and headers that are secrets at every service, as `spell_alike` spells them. Names that are
secrets at some services only (`key`, `token`) are left to the settings of those services."""

_PUNCTUATION = re.compile(r"[\W_]")


def is_secret_variable(name: str) -> bool:
    """Whether an environment variable of this name holds a secret."""
    return _VARIABLE_PATTERN.search(name) is not None


def normalize_name(name: str) -> str:
    """The name of an argument or header in lower case, letters and digits only."""
    return _PUNCTUATION.sub("", name.lower())
