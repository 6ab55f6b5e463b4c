"""The replica's OpenAPI document, from which the tool documents of `tmdb_verified` are made.

`python -m codetool.tmdb.openapi_document > FILE` writes it.
"""

from __future__ import annotations

import json
from typing import Any

from codetool.tmdb.app import create_app


def build_document() -> dict[str, Any]:
    """The OpenAPI document of the replica's operations, without the validation errors that FastAPI adds."""
    found = create_app().openapi()
    for item in found["paths"].values():
        for operation in item.values():
            operation["responses"].pop("422", None)
    for name in ("HTTPValidationError", "ValidationError"):
        found["components"]["schemas"].pop(name, None)
    return found


if __name__ == "__main__":
    print(json.dumps(build_document(), indent=1, ensure_ascii=False))
