"""Corrupt one step of a reference program in the ways a weak model gets a step wrong.

The kinds: `wrong_field` reads another field of the right record, `wrong_entity` asks about another record, season or
rank, `wrong_endpoint` calls a neighbouring endpoint, `answer_omitted` removes the prints or the last step. Prints
of earlier steps are not changed, since no answer depends on them.
"""

from __future__ import annotations

import ast
import random
import re
from collections.abc import Callable, Iterator, Mapping, Sequence
from functools import partial
from typing import TypeGuard

from codetool.benchmarks.task_generator.confusions import DECOYS, ENDPOINTS, FIELDS

Program = Sequence[str]
Decoys = Mapping[str, tuple[int, str]]
"""The record that replaces the right one, by kind: its id and its name."""
Edit = Callable[[ast.AST], None]
EditFinder = Callable[[ast.AST, Decoys], Iterator[Edit]]
"""Yields the possible edits at one node of a step's syntax tree."""


def corrupt_program(program: Program, seed: int, *, ranked: bool = True) -> list[tuple[str, list[str]]]:
    """Return corrupted copies as (kind, program): one for each kind and step, at a position that the seed draws.

    Set `ranked` to False for questions that any entry of a list answers: then taking the next entry is no mistake.
    """
    rng = random.Random(f"{seed} {list(program)}")
    entities = (_find_name_edits, _find_id_edits, _find_extremum_edits, *([_find_rank_edits] if ranked else []))
    kinds = {"wrong_field": (_find_field_edits,), "wrong_entity": entities, "wrong_endpoint": (_find_endpoint_edits,)}
    decoys = _choose_decoys(program, rng)
    corrupted = []
    for kind, finders in kinds.items():
        for index, step in enumerate(program):
            variants = list(_corrupt_step(step, finders, decoys, last=index == len(program) - 1))
            if variants:
                corrupted.append((kind, [*program[:index], rng.choice(variants), *program[index + 1 :]]))
    corrupted.append(("answer_omitted", [*program[:-1], _remove_prints(program[-1])]))
    if len(program) > 1:
        corrupted.append(("answer_omitted", list(program[:-1])))
    return corrupted


def _choose_decoys(program: Program, rng: random.Random) -> Decoys:
    """Draw one record of each kind that the program does not name."""
    text = "\n".join(program)
    return {
        kind: rng.choice([(id_, name) for id_, name in records.items() if name not in text])
        for kind, records in DECOYS.items()
    }


def _corrupt_step(step: str, finders: Sequence[EditFinder], decoys: Decoys, *, last: bool) -> Iterator[str]:
    original = ast.unparse(ast.parse(step))
    for position, node in enumerate(_relevant_nodes(ast.parse(step), last)):
        for edit in (edit for index in finders for edit in index(node, decoys)):
            copy = ast.parse(step)
            edit(_relevant_nodes(copy, last)[position])
            text = ast.unparse(ast.fix_missing_locations(copy))
            if text != original:
                yield text


def _relevant_nodes(tree: ast.Module, last: bool) -> list[ast.AST]:
    """Return the nodes that the answer can depend on, in a fixed order. Prints of earlier steps are left out.

    Conditions are left out: they test whether a field is present, and the replacing field is present as well.
    """
    statements = tree.body if last else [line for line in tree.body if not _is_print(line)]
    nodes = [node for line in statements for node in ast.walk(line)]
    conditions = {test for node in nodes for test in _condition_nodes(node)}
    return [node for node in nodes if node not in conditions]


def _condition_nodes(node: ast.AST) -> Sequence[ast.AST]:
    return node.ifs if isinstance(node, ast.comprehension) else node.values if isinstance(node, ast.BoolOp) else ()


def _is_print(line: ast.stmt) -> bool:
    call = line.value if isinstance(line, ast.Expr) else None
    return isinstance(call, ast.Call) and isinstance(call.func, ast.Name) and call.func.id == "print"


def _find_field_edits(node: ast.AST, _: Decoys) -> Iterator[Edit]:
    if isinstance(node, ast.Subscript) and isinstance(node.slice, ast.Constant) and node.slice.value in FIELDS:
        yield partial(_set_attribute, name="slice", value=ast.Constant(FIELDS[node.slice.value]))


def _find_name_edits(node: ast.AST, decoys: Decoys) -> Iterator[Edit]:
    if _is_request(node) and (search_route := re.search(r"/search/(\w+)", ast.unparse(node))):
        yield partial(_set_search_text, name=decoys[search_route[1]][1])


def _find_id_edits(node: ast.AST, decoys: Decoys) -> Iterator[Edit]:
    """Replace the record, the season or the episode in a URL."""
    if not isinstance(node, ast.JoinedStr):
        return
    for index, part in enumerate(node.values):
        text = str(part.value) if isinstance(part, ast.Constant) else ""
        kind = text.strip("/").split("/")[-1]
        if kind in decoys and index + 1 < len(node.values):
            yield partial(_set_fstring_part, index=index + 1, text=str(decoys[kind][0]))
        for match in re.finditer(r"(?<=/season/)\d+|(?<=/episode/)\d+", text):
            yield partial(
                _set_fstring_part,
                index=index,
                text=text[: match.start()] + str(int(match[0]) + 1) + text[match.end() :],
            )


def _find_extremum_edits(node: ast.AST, _: Decoys) -> Iterator[Edit]:
    """Swap `max` and `min`."""
    if isinstance(node, ast.Name) and node.id in ("max", "min"):
        yield partial(_set_attribute, name="id", value={"max": "min", "min": "max"}[node.id])


def _find_rank_edits(node: ast.AST, _: Decoys) -> Iterator[Edit]:
    """Take the next entry of a ranked list."""
    if isinstance(node, ast.Subscript) and isinstance(node.slice, ast.Constant) and type(node.slice.value) is int:
        yield partial(_set_attribute, name="slice", value=ast.Constant(node.slice.value + 1))


def _find_endpoint_edits(node: ast.AST, _: Decoys) -> Iterator[Edit]:
    if _is_request(node):
        address = ast.unparse(node.args[0])
        right, wrong = next(pair for pair in ENDPOINTS if pair[0] in address)
        yield partial(
            _set_attribute, name="args", value=[ast.parse(wrong.join(address.rsplit(right, 1)), mode="eval").body]
        )


def _is_request(node: ast.AST) -> TypeGuard[ast.Call]:
    return isinstance(node, ast.Call) and ast.unparse(node.func) == "requests.get"


def _set_attribute(node: ast.AST, *, name: str, value: object) -> None:
    setattr(node, name, value)


def _set_fstring_part(node: ast.AST, *, index: int, text: str) -> None:
    assert isinstance(node, ast.JoinedStr)
    node.values[index] = ast.Constant(text)


def _set_search_text(node: ast.AST, *, name: str) -> None:
    for part in ast.walk(node):
        if isinstance(part, ast.Dict):
            part.values = [
                ast.Constant(name) if isinstance(key, ast.Constant) and key.value == "query" else value
                for key, value in zip(part.keys, part.values, strict=True)
            ]


def _remove_prints(step: str) -> str:
    """Return the step without its prints."""
    tree = ast.parse(step)
    tree.body = [line for line in tree.body if not _is_print(line)]
    return ast.unparse(tree)
