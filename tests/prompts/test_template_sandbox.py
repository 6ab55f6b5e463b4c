"""Templates that loop, grow or nest without end are one error, soon and in little memory; ordinary ones render."""

from __future__ import annotations

import resource
import time

import pytest

from codetool.errors import ConfigError
from codetool.prompts import template_sandbox
from codetool.prompts.jinja import PromptTemplate, validate_template

ENDLESS = {
    "loops": "{% for a in range(99999) %}{% for b in range(99999) %}{% endfor %}{% endfor %}",
    "loop of text": "{% for a in x * 1000 %}{% for b in x * 1000 %}{% for c in x * 1000 %}{% endfor %}{% endfor %}{% endfor %}",
    "recursive loop": "{% for a in [1, 1] recursive %}{{ loop([1, 1]) }}{% endfor %}",
    "macros": "{% macro f(n) %}{% if n %}{{ f(n - 1) }}{{ f(n - 1) }}{% endif %}{% endmacro %}{{ f(60) }}",
    "deep macro": "{% macro f() %}{{ f() }}{% endmacro %}{{ f() }}",
    "range": "{{ range(10 ** 12) | list }}",
    "output": "{% for a in range(99999) %}{{ x * 1000 }}{% endfor %}",
    "captured": "{% set y %}{% for a in range(99999) %}{{ x * 1000 }}{% endfor %}{% endset %}",
    "times": "{{ 'a' * 10 ** 9 }}",
    "times, turned": "{{ 10 ** 9 * 'a' }}",
    "list": "{{ [1] * 10 ** 9 }}",
    "power": "{{ 2 ** (10 ** 9) }}",
    "product": "{% set n = namespace(v=9) %}{% for a in range(64) %}{% set n.v = n.v * n.v %}{% endfor %}{{ n.v }}",
    "doubled by ~": "{% set n = namespace(v='aa') %}{% for a in range(64) %}{% set n.v = n.v ~ n.v %}{% endfor %}",
    "doubled by +": "{% set n = namespace(v='aa') %}{% for a in range(64) %}{% set n.v = n.v + n.v %}{% endfor %}",
    "doubled by join": "{% set n = namespace(v='aa') %}{% for a in range(64) %}{% set n.v = [n.v, n.v] | join %}{% endfor %}",
    "doubled by list": "{% set n = namespace(v=[1]) %}{% for a in range(64) %}{% set n.v = n.v + n.v %}{% endfor %}",
    "center": "{{ x | center(10 ** 9) }}",
    "ljust": "{{ x.ljust(10 ** 9) }}",
    "zfill": "{{ x.zfill(10 ** 9) }}",
    "indent": "{{ (('a\n') * 9999) | indent(9999) }}",
    "expandtabs": "{{ ('\t' * 9999).expandtabs(9999) }}",
    "translate": "{{ ('a' * 9999).translate({97: 'b' * 9999}) }}",
    "replace": "{{ ('a' * 9999) | replace('', 'b' * 9999) }}",
    "replace, method": "{{ ('a' * 9999).replace('', 'b' * 9999) }}",
    "join": "{{ ('a' * 9999) | join('b' * 9999) }}",
    "join, method": "{{ ('b' * 9999).join(['a'] * 9999) }}",
    "%": "{{ '%999999999d' % 1 }}",
    "% with a star": "{{ '%*d' % (999999999, 1) }}",
    "format": "{{ '{:999999999}'.format(1) }}",
    "format, nested": "{{ '{:{}}'.format(1, 999999999) }}",
    "to bytes": "{{ (5).to_bytes(10 ** 9, 'big') }}",
    "format, filter": "{{ '%999999999d' | format(1) }}",
    "slice": "{{ [1] | slice(10 ** 9) | list }}",
    "batch": "{{ [1] | batch(10 ** 9, 0) | list }}",
    "json": "{{ [1] | tojson(indent=10 ** 9) }}",
    "words": "{{ lipsum(10 ** 6) }}",
}  # fmt: skip


def assert_ends(source: str, seconds: float, mib: float) -> None:
    """Fail unless rendering is one error within the CPU time, and the process grows by less."""
    started, size = time.process_time(), resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    with pytest.raises(ConfigError, match="cannot be rendered"):
        PromptTemplate(source).render(x="abc")
    assert time.process_time() - started < seconds
    assert resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - size < mib * 2**10


@pytest.mark.parametrize("source", ENDLESS.values(), ids=ENDLESS)
def test_a_template_without_end_is_one_error(source: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """With a twentieth of the limits."""
    monkeypatch.setattr(template_sandbox, "MAX_ITERATIONS", template_sandbox.MAX_ITERATIONS // 20)
    monkeypatch.setattr(template_sandbox, "MAX_CHARS", template_sandbox.MAX_CHARS // 20)
    assert_ends(source, seconds=2, mib=128)


@pytest.mark.slow
@pytest.mark.parametrize("source", ENDLESS.values(), ids=ENDLESS)
def test_a_template_without_end_is_one_error_within_the_limits_of_a_run(source: str) -> None:
    assert_ends(source, seconds=10, mib=512)


def test_the_limits_of_a_run_are_those_that_the_slow_tests_hold() -> None:
    limits = (template_sandbox.MAX_ITERATIONS, template_sandbox.MAX_CHARS, template_sandbox.MAX_SECONDS)
    assert limits == (1_000_000, 50_000_000, 20.0)


@pytest.mark.parametrize("source", ["{{ 1 / 0 }}", "{{ [][1] }}", "{{ 'a' + 1 }}", "{{ x.y.z }}", "{{ x.index('q') }}"])
def test_an_error_of_a_template_is_one_line(source: str) -> None:
    with pytest.raises(ConfigError) as error:
        PromptTemplate(source).render(x="abc")
    assert len(str(error.value).splitlines()) == 1


def test_a_template_that_is_nested_too_deeply_is_refused() -> None:
    with pytest.raises(ValueError, match="nested too deeply"):
        validate_template("{{ " + "(" * 20_000 + "1" + ")" * 20_000 + " }}", frozenset())


def test_ordinary_templates_render_as_ever() -> None:
    source = (
        "{% for t in tools %}{{ loop.index }}. {{ t.name ~ ':' ~ 1 }} {{ '%05d' % 7 }}{{ '-' * 3 }}{% if not loop.last %}, "
        "{% endif %}{% else %}none{% endfor %}{{ ['a', 'b'] | join(', ') }}{{ x | indent(2) | replace('a', 'b') | trim }}"
    )
    made = PromptTemplate(source)
    assert made.render(tools=[{"name": "a"}, {"name": "b"}], x="a\na") == "1. a:1 00007---, 2. b:1 00007---a, bb\n  b"
    assert made.render(tools=[], x="") == "nonea, b"
    assert PromptTemplate("{{ '%d' % 123456 }}{{ '{:,}'.format(99999) }}{{ x | truncate(20000) }}").render(x="a")
    assert len(PromptTemplate("{{ x }}{{ x | upper }}").render(x="a" * 10**6)) == 2 * 10**6
