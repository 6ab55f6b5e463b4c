import subprocess
import sys
from pathlib import Path

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
