"""Lists of images: synthetic paths with sizes, languages and votes, the same in every run.

`include_image_language` keeps images with one of the named languages; `null` names those without text. Without it, a
`language` keeps that language's images and neither keeps all, as at the service.
"""

from __future__ import annotations

from collections.abc import Sequence
from functools import lru_cache
from hashlib import sha256
from typing import Literal

from codetool.tmdb.list_items import JSONObject
from codetool.tmdb.synthetic import make_image_path

ImageKind = Literal["poster", "backdrop", "still", "logo", "profile"]
SIZES: dict[ImageKind, tuple[tuple[int, int], ...]] = {
    "poster": ((2000, 3000), (1000, 1500), (1400, 2100)),
    "backdrop": ((3840, 2160), (1920, 1080), (1280, 720)),
    "still": ((1920, 1080), (1280, 720), (3840, 2160)),
    "logo": ((1600, 430), (1276, 467), (800, 310)),
    "profile": ((1000, 1500), (800, 1200), (666, 1000)),
}
"""Width and height in pixels."""
COUNTRY = {"de": "DE", "en": "US", "es": "ES", "fr": "FR", "it": "IT", "ja": "JP", "ko": "KR", "ru": "RU", "zh": "CN"}


def render_images(stem: str, number: int, shape: ImageKind, original: str = "en", asked: str = "") -> list[JSONObject]:
    """Two to five images of a record; the first has the path `image(stem, number)` that its details name.

    `original` is the record's language, `asked` what `asked_languages` gives.
    """
    wanted = {None if code == "null" else code[:2] for code in asked.split(",")} if asked else None
    found = _make_images(stem, number, shape, original)
    return [dict(picture) for picture in found if wanted is None or picture["iso_639_1"] in wanted]


def render_logos(number: int) -> list[JSONObject]:
    """The logos of a company or network, which have no language; the first is the one that its details name."""
    found = render_images("organisation", number, "logo")
    return [_render_logo(picture) for picture in found]


def select_languages(include_image_language: str, language: str) -> str:
    """The languages whose images are asked for, separated by commas; empty for all."""
    return include_image_language.replace(" ", "") or language[:2]


@lru_cache(maxsize=8192)
def _make_images(stem: str, number: int, shape: ImageKind, original: str) -> Sequence[JSONObject]:
    digest = sha256(f"pictures {stem} {number}".encode()).digest()
    languages = _image_languages(shape, original)
    return tuple(
        _make_image(
            make_image_path(stem if place == 0 else f"{stem} {place}", number, _file_extension(shape)),
            shape,
            languages,
            place,
            digest,
        )
        for place in range(2 + digest[0] % 4)
    )


def _render_logo(picture: JSONObject) -> JSONObject:
    path = picture["file_path"]
    kept = {key: value for key, value in picture.items() if not key.startswith("iso_")}
    return kept | {"id": sha256(f"logo {path}".encode()).hexdigest()[:24], "file_type": ".png"}


def _make_image(path: str, shape: ImageKind, languages: Sequence[str | None], place: int, digest: bytes) -> JSONObject:
    width, height = SIZES[shape][(digest[1] + place) % 3]
    language = languages[place % len(languages)]
    return {
        "aspect_ratio": round(width / height, 3),
        "height": height,
        "iso_3166_1": COUNTRY.get(language) if language else None,
        "iso_639_1": language,
        "file_path": path,
        "vote_average": round(5.8 - place * 0.2 + digest[2] % 10 / 100, 3),
        "vote_count": 24 - 4 * place + digest[3] % 4,
        "width": width,
    }


def _image_languages(shape: ImageKind, original: str) -> Sequence[str | None]:
    """By place: stills and profiles bear no text, posters and logos mostly do, every second backdrop does not."""
    if shape in ("still", "profile"):
        return (None,)
    if shape == "backdrop":
        return (None, "en", None, original, None)
    return ("en", original, None, "fr", "de") if shape == "poster" else ("en", original, "en", "fr", "de")


def _file_extension(shape: ImageKind) -> str:
    return "png" if shape == "logo" else "jpg"
