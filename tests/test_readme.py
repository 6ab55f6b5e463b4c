import re
import subprocess
import sys
from functools import cache
from pathlib import Path

import pytest
import settings_pages

from codetool.benchmarks import reference_answers, tmdb_verified
from codetool.tmdb.store import load_store

ROOT = Path(__file__).parents[1]


def test_the_results_table_is_what_the_result_files_say() -> None:
    done = subprocess.run([sys.executable, "experiments/readme_table.py", "--check"], cwd=ROOT, check=False)
    assert done.returncode == 0, "run experiments/readme_table.py"


def test_the_readme_stays_short() -> None:
    assert len((ROOT / "README.md").read_text().splitlines()) <= 150


PAGES = [ROOT / "README.md", *sorted((ROOT / "docs").rglob("*.md"))]


@cache
def list_generated_pages() -> set[Path]:
    """The pages that the build of the documentation makes."""
    return {ROOT / f"docs/reference/settings/{name}.md" for name in settings_pages.make_pages()}


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_every_file_that_a_page_links_to_is_there(page: Path) -> None:
    links = re.findall(r"\]\((?!https?:)([^)#]+)", page.read_text())
    paths = [(page.parent / link).resolve() for link in links]
    assert not [path for path in paths if not path.exists() and path not in list_generated_pages()]


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_every_file_that_a_page_names_is_there(page: Path) -> None:
    words = page.read_text().replace("`", " ").replace("(", " ").replace(")", " ").split()
    folders = ("codetool/", "conf/", "docs/", "experiments/", ".ci/")
    paths = {word.rstrip(".,;:") for word in words if word.startswith(folders)}
    users_own = re.compile(r"mine|stock|\*")
    missing = {path for path in paths if not users_own.search(path) and not (ROOT / path).exists()}
    assert not missing


def test_the_readme_counts_what_is_there() -> None:
    store, rows = load_store(), tmdb_verified.load_all_rows()
    text = " ".join((ROOT / "docs" / "benchmarks.md").read_text().split())
    assert f"{len(store.movies)} films, {len(store.shows)} shows with {len(store.episodes)} named episodes" in text
    assert f"{len(store.people):,} people" in text
    answered = sum(bool(known.answers) for known in reference_answers.load_references().values())
    assert f"{answered} of its 100 queries" in text
    changes = " ".join((ROOT / "CHANGELOG.md").read_text().split())
    assert f"{len(rows):,} film queries from {len({row['template'] for row in rows})} templates" in changes
