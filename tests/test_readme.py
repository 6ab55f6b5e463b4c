import subprocess
import sys
from pathlib import Path

from codetool.benchmarks import reference_answers, tmdb_verified
from codetool.tmdb.store import load

ROOT = Path(__file__).parents[1]


def test_the_results_table_is_what_the_result_files_say() -> None:
    done = subprocess.run([sys.executable, "experiments/readme_table.py", "--check"], cwd=ROOT, check=False)
    assert done.returncode == 0, "run experiments/readme_table.py"


def test_the_readme_stays_short() -> None:
    assert len((ROOT / "README.md").read_text().splitlines()) <= 200


def test_every_file_that_the_readme_names_is_there() -> None:
    words = (ROOT / "README.md").read_text().replace("`", " ").replace("(", " ").replace(")", " ").split()
    paths = {word.rstrip(".,;:") for word in words if word.startswith(("codetool/", "conf/", "experiments/", ".ci/"))}
    missing = {path for path in paths if "mine" not in path and not (ROOT / path).exists()}
    assert not missing


def test_the_readme_counts_what_is_there() -> None:
    store, rows = load(), tmdb_verified.rows()
    text = " ".join((ROOT / "README.md").read_text().split())
    assert f"{len(store.movies)} films, {len(store.shows)} shows with {len(store.episodes)} named episodes" in text
    assert f"{len(store.people):,} people" in text
    answered = sum(bool(known.answers) for known in reference_answers.references().values())
    assert f"{answered} of its 100 queries" in text
    changes = " ".join((ROOT / "CHANGELOG.md").read_text().split())
    assert f"{len(rows):,} film queries from {len({row['template'] for row in rows})} templates" in changes
