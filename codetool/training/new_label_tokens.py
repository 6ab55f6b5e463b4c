"""Check that a model can learn a PRM's label tokens, and add new tokens for them to its tokenizer."""

from __future__ import annotations

import json
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

from safetensors import SafetensorError, safe_open
from tokenizers import Tokenizer

from codetool.errors import ConfigError, MissingError

EMBEDDING_SUFFIXES = ("embed_tokens.weight", "lm_head.weight")
"""How the names of the weights with a row for each token end."""
WEIGHTS_FILE = "model.safetensors"
"""Of a model that is one file."""
UNTRAINED_NORM_RATIO = 0.1
"""Rows that were never trained have a norm below this share of the median: they stayed about where they began, at 0."""


def find_untrained_tokens(folder: Path, tokens: Sequence[int]) -> list[int]:
    """Those of the tokens that the model of a folder was never trained on, by their rows.

    Such a row is far smaller than others, or the same as that of another token. Raises MissingError for damaged files.
    """
    import torch

    found: set[int] = set()
    for rows in _read_embeddings(folder):
        norms = torch.cat([part.float().norm(dim=1) for part in rows.split(8192)])
        median = norms.median()
        for token in tokens:
            near = (norms - norms[token]).abs() <= 1e-3 * median
            twins = (rows[near] == rows[token]).all(1).sum()
            if norms[token] < UNTRAINED_NORM_RATIO * median or twins > 1:
                found.add(token)
    return [token for token in tokens if token in found]


def _read_embeddings(folder: Path) -> Iterator[Any]:
    file = folder / "model.safetensors.index.json"
    try:
        files = sorted(set(json.loads(file.read_text())["weight_map"].values())) if file.is_file() else [WEIGHTS_FILE]
        for file in (folder / name for name in files):
            with safe_open(file, "pt") as weights:
                for name in weights.keys():
                    if name.endswith(EMBEDDING_SUFFIXES):
                        yield weights.get_tensor(name)
    except (OSError, ValueError, KeyError, SafetensorError) as error:
        raise MissingError(f"{file} cannot be read: {error}. Is the download complete?") from error


def add_label_tokens(folder: Path, labels: tuple[str, str]) -> Tokenizer:
    """The tokenizer of a folder with both labels as new tokens. Raises ConfigError if one is a token already."""
    made = Tokenizer.from_file(str(folder / "tokenizer.json"))
    for label in labels:
        if len(made.encode(label, add_special_tokens=False).ids) <= 1:
            raise ConfigError(
                f"train.add_label_tokens=true: prm.labels={list(labels)}, but {label!r} is a token of the model "
                "already. Leave out train.add_label_tokens, or name labels that no text contains, "
                "prm.labels=['<more>','<less>']."
            )
    made.add_special_tokens(list(labels))
    return made
