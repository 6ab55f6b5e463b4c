"""The seconds of the components of a task and of its run."""

from codetool.costs.component_clock import ComponentClock
from codetool.ledger import ComponentSeconds


class Seconds:
    """A clock that is set by hand."""

    def __init__(self) -> None:
        self.now = 0.0

    def __call__(self) -> float:
        return self.now


def test_calls_at_the_same_time_share_wall_seconds_and_add_up_to_busy_seconds() -> None:
    seconds = Seconds()
    clock = ComponentClock(seconds)
    with clock.measure("policy"):
        seconds.now = 2.0
        with clock.measure("policy"), clock.measure("prm"):
            seconds.now = 5.0
    seconds.now = 9.0
    with clock.measure("policy"):
        seconds.now = 10.0
    assert clock.read() == {"policy": ComponentSeconds(6.0, 9.0), "prm": ComponentSeconds(3.0, 3.0)}


def test_a_run_counts_the_seconds_in_which_any_of_its_tasks_is_at_work() -> None:
    seconds = Seconds()
    run = ComponentClock(seconds)
    first, second = ComponentClock(seconds, run), ComponentClock(seconds, run)
    with first.measure("policy"):
        seconds.now = 1.0
        with second.measure("policy"):
            seconds.now = 4.0
    assert (first.read()["policy"].wall, second.read()["policy"].wall) == (4.0, 3.0)
    assert run.read() == {"policy": ComponentSeconds(4.0, 7.0)}


def test_busy_seconds_can_be_those_that_a_component_has_measured_itself() -> None:
    seconds = Seconds()
    clock = ComponentClock(seconds)
    with clock.measure("sandbox", is_busy=False):
        seconds.now = 3.0
    clock.add_busy("sandbox", 0.5)
    assert clock.read() == {"sandbox": ComponentSeconds(3.0, 0.5)}


def test_a_call_that_fails_counts_and_one_under_way_counts_up_to_now() -> None:
    seconds = Seconds()
    clock = ComponentClock(seconds)
    try:
        with clock.measure("tools"):
            seconds.now = 2.0
            raise ValueError
    except ValueError:
        pass
    with clock.measure("tools"):
        seconds.now = 5.0
        assert clock.read() == {"tools": ComponentSeconds(5.0, 2.0)}
