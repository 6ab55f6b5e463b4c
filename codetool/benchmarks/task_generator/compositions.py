"""Further chains for training: all compositions of the parts, without anything that dev and test hold out.

The stored train split has most parts alone or in a few pairs. A policy that is trained on these alone writes the step
that belongs to a template rather than the step that comes next. The chains here have up to three relations, and none
contains two neighbouring parts that only held-out templates put side by side: `director > birthday` stays new to a
policy that is trained on them, since only test has `movie > director > birthday`.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from functools import cache
from itertools import chain, cycle, pairwise
from random import Random

from codetool.benchmarks.task_generator.attributes import ATTRIBUTES
from codetool.benchmarks.task_generator.entry_points import ENTRY_POINTS
from codetool.benchmarks.task_generator.grammar import Kind
from codetool.benchmarks.task_generator.relations import RELATIONS
from codetool.benchmarks.task_generator.templates import CHAINS, Chain

RELATION_COUNTS = (1, 2, 1, 2, 3, 0, 2, 1, 2, 1)
"""Number of relations of the chains in turn: as in the held-out templates, most have one or two."""
MAX_RELATIONS = max(RELATION_COUNTS)


def draw_chains(seed: int) -> Iterator[Chain]:
    """Yield compositions in a random order without end before all are drawn, by `RELATION_COUNTS` in turn.

    Chains that begin with a search by name and those that begin with a list or an id take turns.
    """
    rng = Random(f"compositions {seed}")
    chains = list(compose_chains())
    rng.shuffle(chains)
    queues = {
        count: _alternate([each for each in chains if len(each.relations) == count]) for count in set(RELATION_COUNTS)
    }
    for count in cycle(RELATION_COUNTS):
        if not any(queues.values()):
            return
        if queues[count]:
            yield queues[count].pop()


def _alternate(chains: Sequence[Chain]) -> list[Chain]:
    """Return the chains ordered so that searches and other entry points take turns while there are both."""
    searches = [each for each in chains if "/search/" in each.entry_point.code]
    others = [each for each in chains if "/search/" not in each.entry_point.code]
    both = min(len(searches), len(others))
    pairs = chain.from_iterable(zip(searches, others, strict=False))
    return [*searches[both:], *others[both:], *pairs]


@cache
def compose_chains() -> tuple[Chain, ...]:
    """Return every chain that is no template of any split and has no held-out pair of neighbours, in a fixed order."""
    templates = {each.notation for each in CHAINS}
    held_out = find_held_out_pairs()
    notations = (" > ".join(parts) for parts in _compose() if not held_out.intersection(pairwise(parts)))
    return tuple(Chain(notation, "train") for notation in notations if notation not in templates)


def find_held_out_pairs() -> set[tuple[str, str]]:
    """Return the pairs of neighbouring parts that chains of dev or test have, and chains of train do not."""
    return _list_pairs(False) - _list_pairs(True)


def _list_pairs(in_train: bool) -> set[tuple[str, str]]:
    chains = (each for each in CHAINS if (each.where == "everywhere") == in_train)
    return {pair for each in chains for pair in pairwise(each.notation.split(" > "))}


def _compose() -> Iterator[tuple[str, ...]]:
    """Yield the parts of every chain whose kinds fit together and that uses no relation twice."""
    for entry_point in ENTRY_POINTS.values():
        for relations, kind in _follow_relations((), entry_point.kind):
            for attribute in ATTRIBUTES.values():
                if attribute.source == kind:
                    yield (entry_point.name, *relations, attribute.name)


def _follow_relations(before: tuple[str, ...], kind: Kind) -> Iterator[tuple[tuple[str, ...], Kind]]:
    """Yield every sequence of relations from a record of a kind, with the kind that it ends at."""
    yield before, kind
    if len(before) == MAX_RELATIONS:
        return
    for relation in RELATIONS.values():
        if relation.source == kind and relation.name not in before:
            yield from _follow_relations((*before, relation.name), relation.kind)
