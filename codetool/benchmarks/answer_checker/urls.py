"""Web addresses and image paths in a text, in one normal form.

`http` or `https`, `www.`, a final slash and the case of the host do not matter. A TMDB image is its file: the full
address in any size equals the stored path.
"""

from __future__ import annotations

import re

STOP = r"\s\"'<>()\[\]{}|\\^`"
ADDRESS = re.compile(
    rf"https?://[^{STOP}]+"
    r"|(?<![\w/.])/[\w-]+\.(?:jpe?g|png|svg|webp)\b"
    rf"|(?<![\w/.@-])(?:[a-z0-9-]+\.)+[a-z]{{2,}}(?:/[^{STOP}]*)?(?![\w])",
    re.I,
)
IMAGE = re.compile(r"^(?:https?://)?(?:image\.tmdb\.org|(?:www\.|media\.)?themoviedb\.org)/t/p/\w+(?=/)", re.I)


def addresses(text: str) -> list[str]:
    """Every address in the text, in order: full ones, image paths, and hosts without a scheme."""
    return [address(hit) for hit in ADDRESS.findall(text)]


def without_addresses(text: str) -> str:
    """The text with every address left out."""
    return ADDRESS.sub(" ", text)


def address(text: str) -> str:
    """The normal form of one address or image path."""
    bare = text.strip().rstrip(".,;:!?*")
    image = IMAGE.sub("", bare)
    if image.startswith("/"):
        return image
    bare = re.sub(r"^(https?://)?(www\.)?", "", bare, flags=re.I).rstrip("/")
    host, slash, path = bare.partition("/")
    return host.lower() + slash + path
