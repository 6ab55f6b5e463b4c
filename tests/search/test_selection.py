"""The result among several finished paths: by reward, by votes of equal answers, or by outcome and then by steps."""

import pytest
from search_world import TextPRM, fans, search, step

from codetool.search.beam import Beam
from codetool.search.best_of_n import BestOfN
from codetool.search.exhaustive import Exhaustive
from codetool.search.greedy import Greedy
from codetool.search.selection import FinalSelection, Select, select_best
from codetool.types import Execution, Node, Step

STRATEGIES = [BestOfN, Beam, Exhaustive, Greedy]
ROOT = Node("0")


def end(name: str, answer: str, cumulative: float = 0.0, **changes: object) -> Node:
    """A finished path of one step that printed its answer."""
    given = {"step": Step(name, "print()", True), "execution": Execution("ok", answer), "spot": 1.0}
    return Node(name, ROOT, 1, cumulative=cumulative, **{**given, **changes})  # type: ignore[arg-type]


def test_votes_count_equal_answers_and_reward_decides_between_equal_counts() -> None:
    ends = [end("1", "Ang Lee", 3.0), end("2", "Nolan", 1.0), end("3", "It is Nolan.", 2.0), end("4", "Lee", 2.5)]
    assert select_best(ends).id == "1"
    assert select_best(ends, "vote").id == "3"
    assert select_best(ends[1:2] + ends[3:], "vote").id == "4"


def test_every_sampled_candidate_has_a_vote_and_a_path_met_twice_counts_once() -> None:
    ends = [end("1", "5", 1.0, multiplicity=3), end("2", "6", 2.0), end("3", "six", 3.0)]
    assert select_best(ends, "vote").id == "1"
    assert select_best([*ends, ends[1], ends[2]], "vote").id == "1"


def test_weighted_votes_sum_the_rewards() -> None:
    ends = [
        end("1", "Lee", 3.0),
        end("2", "Nolan", 1.6),
        end("3", "nolan", 1.5),
        end("4", "Boyle", 0.5, multiplicity=4),
    ]
    assert [select_best(ends, select).id for select in ("vote", "weighted_vote", "reward")] == ["4", "2", "1"]


def test_an_empty_answer_and_an_unfinished_path_have_no_vote() -> None:
    silent = [end(str(place), "", 9.0) for place in range(1, 4)]
    unfinished = [end(str(place), "Lee", 9.0, step=Step("on", "print()", False)) for place in range(4, 7)]
    assert select_best([*silent, *unfinished, end("9", "Nolan")], "vote").id == "9"
    assert select_best(silent, "weighted_vote").id in {"1", "2", "3"}
    assert select_best(unfinished, "vote").finished is False


def test_two_stages_ask_for_a_good_outcome_first_and_then_for_steps_that_ran() -> None:
    failed = Node("1", ROOT, 1, step=Step("a", "1/0", False), execution=Execution("exception"))
    slip = Node("1-1", failed, 2, step=Step("b", "", True), execution=Execution("ok", "5"), spot=1.0, latent=0.9)
    whole = end("2", "6", 1.0, latent=0.5)
    doubtful = end("3", "7", 9.0, latent=0.49)
    assert select_best([slip, whole, doubtful], "two_stage").id == "2"
    assert select_best([slip, doubtful], "two_stage").id == "1-1"
    assert select_best([end("4", "8", 1.0, latent=0.6), whole], "two_stage").id in {"2", "4"}


def test_without_a_prm_the_outcome_is_whether_the_last_step_ran() -> None:
    ends = [end("1", "5", 9.0, spot=0.0), end("2", "6", 1.0)]
    assert select_best(ends, "two_stage").id == "2"


@pytest.mark.parametrize("strategy", STRATEGIES, ids=lambda strategy: strategy.__name__)
@pytest.mark.parametrize("select", ["vote", "weighted_vote", "two_stage"])
async def test_every_strategy_that_ends_with_several_paths_selects(strategy: type, select: Select) -> None:
    """One path of high reward answers 9, the others 1: the rewards choose the first, the votes the others."""
    size = {"width": 4} if strategy is Beam else {}

    def script(path: tuple[str, ...], index: int) -> Step:
        return step(
            f"{'9' if index == 0 else '1'} {' ' * index}",
            f"print({9 if index == 0 else 1}, {index} * '')",
            finished=True,
        )

    prm = TextPRM(**{"9 ": 0.9, "1  ": 0.45, "1   ": 0.6, "1    ": 0.4})
    by_reward = await search(strategy(n=4, depth=3, **size), script, prm=prm)
    chosen = await search(strategy(n=4, depth=3, select=select, **size), script, prm=prm)
    assert by_reward.best.step.text == "9 "
    assert chosen.best.step.text == {"vote": "1   ", "weighted_vote": "1   ", "two_stage": "9 "}[select]
    assert chosen.nodes == by_reward.nodes, "the tree does not depend on the choice"


@pytest.mark.parametrize("select", ["vote", "weighted_vote", "two_stage"])
async def test_unfinished_and_failing_searches_still_have_a_result(select: Select) -> None:
    chosen = await search(BestOfN(n=3, depth=2, select=select), fans)
    assert not chosen.best.finished
    failed = await search(
        BestOfN(n=3, depth=2, select=select), lambda path, index: step(str(index), "1/0", finished=True)
    )
    assert failed.best.finished
    silent = await search(BestOfN(n=3, depth=2, select=select), lambda path, index: None)
    assert silent.best.id == "0"


def test_the_default_has_no_part_in_the_identity() -> None:
    assert FinalSelection().irrelevant_settings() == {"select"}
    assert FinalSelection(select="vote").irrelevant_settings() == frozenset()
