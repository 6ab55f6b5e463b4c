"""Extract URLs and image paths from a text and normalize them.

`http` or `https`, `www.`, a trailing slash and the case of the host are ignored. A TMDB image is identified by its
file: the full URL in any size equals the stored path.
"""

from __future__ import annotations

import re

NON_URL_CHARS = r"\s\"'<>()\[\]{}|\\^`"
URL = re.compile(
    rf"https?://[^{NON_URL_CHARS}]+"
    r"|(?<![\w/.])/[\w-]+\.(?:jpe?g|png|svg|webp)\b"
    rf"|(?<![\w/.@-])(?:[a-z0-9-]+\.)+[a-z]{{2,}}(?:/[^{NON_URL_CHARS}]*)?(?![\w])",
    re.I,
)
IMAGE_SERVER = re.compile(r"^(?:https?://)?(?:image\.tmdb\.org|(?:www\.|media\.)?themoviedb\.org)/t/p/\w+(?=/)", re.I)


def extract_urls(text: str) -> list[str]:
    """Return all URLs in the text in order, normalized: full URLs, image paths, and hosts without a scheme."""
    return [normalize_url(hit) for hit in URL.findall(text)]


def strip_urls(text: str) -> str:
    """Remove all URLs from the text."""
    return URL.sub(" ", text)


def normalize_url(text: str) -> str:
    """Return the normal form of one URL or image path."""
    bare = text.strip().rstrip(".,;:!?*")
    image = IMAGE_SERVER.sub("", bare)
    if image.startswith("/"):
        return image
    bare = re.sub(r"^(https?://)?(www\.)?", "", bare, flags=re.I).rstrip("/")
    host, slash, path = bare.partition("/")
    return host.lower() + slash + path
