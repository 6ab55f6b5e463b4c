"""Lists of synthetic images: paths with sizes, languages and votes, equal in every run.

`include_image_language` selects the images with one of its languages; `null` stands for images without text. Without
it, `language` selects the images of that language; without both, all images are returned, as in the real API.
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


def render_images(
    stem: str, number: int, shape: ImageKind, original: str = "en", include_languages: str = ""
) -> list[JSONObject]:
    """Return two to five images of a record; the first one is the image in the details of the record.

    `original` is the language of the record, and `include_languages` the result of `select_languages`.
    """
    languages = (
        {None if code == "null" else code[:2] for code in include_languages.split(",")} if include_languages else None
    )
    images = _make_images(stem, number, shape, original)
    return [dict(image) for image in images if languages is None or image["iso_639_1"] in languages]


def render_logos(number: int) -> list[JSONObject]:
    """Return the logos of a company or network, without languages; the first one is the logo in its details."""
    images = render_images("organisation", number, "logo")
    return [_render_logo(image) for image in images]


def select_languages(include_image_language: str, language: str) -> str:
    """Return the languages of the requested images, separated by commas; empty for all."""
    return include_image_language.replace(" ", "") or language[:2]


@lru_cache(maxsize=8192)
def _make_images(stem: str, number: int, shape: ImageKind, original: str) -> Sequence[JSONObject]:
    digest = sha256(f"pictures {stem} {number}".encode()).digest()
    languages = _list_image_languages(shape, original)
    return tuple(
        _make_image(
            make_image_path(stem if index == 0 else f"{stem} {index}", number, _get_file_extension(shape)),
            shape,
            languages,
            index,
            digest,
        )
        for index in range(2 + digest[0] % 4)
    )


def _render_logo(image: JSONObject) -> JSONObject:
    path = image["file_path"]
    fields = {key: value for key, value in image.items() if not key.startswith("iso_")}
    return fields | {"id": sha256(f"logo {path}".encode()).hexdigest()[:24], "file_type": ".png"}


def _make_image(path: str, shape: ImageKind, languages: Sequence[str | None], index: int, digest: bytes) -> JSONObject:
    width, height = SIZES[shape][(digest[1] + index) % 3]
    language = languages[index % len(languages)]
    return {
        "aspect_ratio": round(width / height, 3),
        "height": height,
        "iso_3166_1": COUNTRY.get(language) if language else None,
        "iso_639_1": language,
        "file_path": path,
        "vote_average": round(5.8 - index * 0.2 + digest[2] % 10 / 100, 3),
        "vote_count": 24 - 4 * index + digest[3] % 4,
        "width": width,
    }


def _list_image_languages(shape: ImageKind, original: str) -> Sequence[str | None]:
    """Return the languages that consecutive images cycle through; None is an image without text."""
    if shape in ("still", "profile"):
        return (None,)
    if shape == "backdrop":
        return (None, "en", None, original, None)
    return ("en", original, None, "fr", "de") if shape == "poster" else ("en", original, "en", "fr", "de")


def _get_file_extension(shape: ImageKind) -> str:
    return "png" if shape == "logo" else "jpg"
