"""Draws that depend on nothing but what they are for."""

from codetool.runs.seeding import draw_uniform


def test_a_draw_is_the_same_in_every_process():
    assert draw_uniform(0, "task", "1-2", "tie") == 0.9524258978686194


def test_parts_do_not_run_together():
    parts = [("1-1", "0"), ("1-10",), ("1", "10"), ("1-1", "", "0"), ("1-1,0",)]
    assert len({draw_uniform(0, *part) for part in parts} | {draw_uniform(1, "1-10")}) == 6


def test_draws_fill_the_unit_interval_evenly():
    numbers = [draw_uniform(0, str(place)) for place in range(10_000)]
    assert all(0 <= number < 1 for number in numbers)
    assert all(900 < sum(tenth <= 10 * number < tenth + 1 for number in numbers) < 1100 for tenth in range(10))
