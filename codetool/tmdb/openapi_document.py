"""Generate the OpenAPI document of the replica, which describes the tools of `benchmark=tmdb_verified`.

`python -m codetool.tmdb.openapi_document > FILE` writes the document.
"""

from __future__ import annotations

import json
from typing import Any

from codetool.tmdb.app import create_app


def build_document() -> dict[str, Any]:
    """Return the OpenAPI document of the replica's operations, without the validation errors that FastAPI adds."""
    document = create_app().openapi()
    for item in document["paths"].values():
        for operation in item.values():
            operation["responses"].pop("422", None)
    for name in ("HTTPValidationError", "ValidationError"):
        document["components"]["schemas"].pop(name, None)
    return document


if __name__ == "__main__":
    print(json.dumps(build_document(), indent=1, ensure_ascii=False))
