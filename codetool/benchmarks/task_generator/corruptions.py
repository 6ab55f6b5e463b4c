"""Reference programs with one step damaged, the way a weak model gets a step wrong.

The kinds: `wrong_field` takes another field of the right record, `wrong_entity` asks about another record, season or
rank, `wrong_endpoint` calls a neighbouring operation, `answer_omitted` prints nothing, or stops a step early. What an
earlier step only shows is not damaged, since no answer depends on it.
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
"""The record taken for the right one, by kind: its id and its name."""
Edit = Callable[[ast.AST], None]
Place = Callable[[ast.AST, Decoys], Iterator[Edit]]
"""What could go wrong at a node of a step's tree."""


def damage(program: Program, seed: int, *, ranked: bool = True) -> list[tuple[str, list[str]]]:
    """Damaged copies as (kind, program): for each kind and step one place that the seed draws among those there are.

    Without `ranked` any entry of a list will do, as where some films are asked for, and taking the next is no damage.
    """
    chance = random.Random(f"{seed} {list(program)}")
    entities = (_other_name, _other_id, _other_most, *([_next] if ranked else []))
    kinds = {"wrong_field": (_other_field,), "wrong_entity": entities, "wrong_endpoint": (_other_endpoint,)}
    decoys = _decoys(program, chance)
    found = []
    for kind, places in kinds.items():
        for index, step in enumerate(program):
            damaged = list(_damaged(step, places, decoys, last=index == len(program) - 1))
            if damaged:
                found.append((kind, [*program[:index], chance.choice(damaged), *program[index + 1 :]]))
    found.append(("answer_omitted", [*program[:-1], _silent(program[-1])]))
    if len(program) > 1:
        found.append(("answer_omitted", list(program[:-1])))
    return found


def _decoys(program: Program, chance: random.Random) -> Decoys:
    """A record of each kind that the program does not name."""
    text = "\n".join(program)
    return {kind: chance.choice([one for one in some.items() if one[1] not in text]) for kind, some in DECOYS.items()}


def _damaged(step: str, places: Sequence[Place], decoys: Decoys, *, last: bool) -> Iterator[str]:
    whole = ast.unparse(ast.parse(step))
    for position, node in enumerate(_relevant(ast.parse(step), last)):
        for edit in (edit for place in places for edit in place(node, decoys)):
            fresh = ast.parse(step)
            edit(_relevant(fresh, last)[position])
            text = ast.unparse(ast.fix_missing_locations(fresh))
            if text != whole:
                yield text


def _relevant(tree: ast.Module, last: bool) -> list[ast.AST]:
    """The nodes that an answer can depend on, in a fixed order: those of a last step, and what others do not print.

    A field that is only asked whether it is there is left out, since another one is there as well.
    """
    statements = tree.body if last else [line for line in tree.body if not _is_print(line)]
    nodes = [node for line in statements for node in ast.walk(line)]
    asked = {test for node in nodes for test in _conditions(node)}
    return [node for node in nodes if node not in asked]


def _conditions(node: ast.AST) -> Sequence[ast.AST]:
    return node.ifs if isinstance(node, ast.comprehension) else node.values if isinstance(node, ast.BoolOp) else ()


def _is_print(line: ast.stmt) -> bool:
    call = line.value if isinstance(line, ast.Expr) else None
    return isinstance(call, ast.Call) and isinstance(call.func, ast.Name) and call.func.id == "print"


def _other_field(node: ast.AST, _: Decoys) -> Iterator[Edit]:
    if isinstance(node, ast.Subscript) and isinstance(node.slice, ast.Constant) and node.slice.value in FIELDS:
        yield partial(_set, name="slice", value=ast.Constant(FIELDS[node.slice.value]))


def _other_name(node: ast.AST, decoys: Decoys) -> Iterator[Edit]:
    if _is_request(node) and (searched := re.search(r"/search/(\w+)", ast.unparse(node))):
        yield partial(_search_for, name=decoys[searched[1]][1])


def _other_id(node: ast.AST, decoys: Decoys) -> Iterator[Edit]:
    """Another record in an address, another season, another episode."""
    if not isinstance(node, ast.JoinedStr):
        return
    for place, part in enumerate(node.values):
        text = str(part.value) if isinstance(part, ast.Constant) else ""
        kind = text.strip("/").split("/")[-1]
        if kind in decoys and place + 1 < len(node.values):
            yield partial(_put, place=place + 1, text=str(decoys[kind][0]))
        for hit in re.finditer(r"(?<=/season/)\d+|(?<=/episode/)\d+", text):
            yield partial(_put, place=place, text=text[: hit.start()] + str(int(hit[0]) + 1) + text[hit.end() :])


def _other_most(node: ast.AST, _: Decoys) -> Iterator[Edit]:
    """The least in place of the most."""
    if isinstance(node, ast.Name) and node.id in ("max", "min"):
        yield partial(_set, name="id", value={"max": "min", "min": "max"}[node.id])


def _next(node: ast.AST, _: Decoys) -> Iterator[Edit]:
    """The next one of a ranked list."""
    if isinstance(node, ast.Subscript) and isinstance(node.slice, ast.Constant) and type(node.slice.value) is int:
        yield partial(_set, name="slice", value=ast.Constant(node.slice.value + 1))


def _other_endpoint(node: ast.AST, _: Decoys) -> Iterator[Edit]:
    if _is_request(node):
        address = ast.unparse(node.args[0])
        right, wrong = next(pair for pair in ENDPOINTS if pair[0] in address)
        yield partial(_set, name="args", value=[ast.parse(wrong.join(address.rsplit(right, 1)), mode="eval").body])


def _is_request(node: ast.AST) -> TypeGuard[ast.Call]:
    return isinstance(node, ast.Call) and ast.unparse(node.func) == "requests.get"


def _set(node: ast.AST, *, name: str, value: object) -> None:
    setattr(node, name, value)


def _put(node: ast.AST, *, place: int, text: str) -> None:
    assert isinstance(node, ast.JoinedStr)
    node.values[place] = ast.Constant(text)


def _search_for(node: ast.AST, *, name: str) -> None:
    for part in ast.walk(node):
        if isinstance(part, ast.Dict):
            part.values = [
                ast.Constant(name) if isinstance(key, ast.Constant) and key.value == "query" else value
                for key, value in zip(part.keys, part.values, strict=True)
            ]


def _silent(step: str) -> str:
    """The step without its last print."""
    tree = ast.parse(step)
    tree.body = [line for line in tree.body if not _is_print(line)]
    return ast.unparse(tree)
