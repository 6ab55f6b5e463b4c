import os
from pathlib import Path

import pytest

from codetool.execution.inside.removal import remove_folder


def nest(folder: Path, name: str, depth: int) -> None:
    """Make folders inside each other, beyond the length of a path."""
    number = os.open(folder, os.O_RDONLY)
    for _ in range(depth):
        os.mkdir(name, dir_fd=number)
        inner = os.open(name, os.O_RDONLY, dir_fd=number)
        os.close(number)
        number = inner
    os.close(os.open("file", os.O_CREAT | os.O_WRONLY, dir_fd=number))
    os.close(number)


def test_folder_is_removed_with_all_it_holds(tmp_path: Path) -> None:
    outside, folder = tmp_path / "outside", tmp_path / "folder"
    outside.mkdir()
    (outside / "kept").touch()
    (folder / "a" / "b").mkdir(parents=True)
    (folder / "a" / "b" / "file").touch()
    (folder / "link").symlink_to(outside)
    (folder / "a" / "link").symlink_to(outside / "kept")
    nest(folder, "d" * 200, 1500)
    remove_folder(str(folder))
    assert not folder.exists()
    assert (outside / "kept").exists()


def test_folder_without_rights_is_removed_too(tmp_path: Path) -> None:
    folder = tmp_path / "folder"
    (folder / "a" / "b").mkdir(parents=True)
    (folder / "a" / "file").touch()
    (folder / "a").chmod(0)
    remove_folder(str(folder))
    assert not folder.exists()


@pytest.mark.parametrize("kind", ["link", "file", "missing"])
def test_only_folders_are_removed(kind: str, tmp_path: Path) -> None:
    (tmp_path / "target").mkdir()
    path = tmp_path / "path"
    if kind == "link":
        path.symlink_to(tmp_path / "target")
    elif kind == "file":
        path.touch()
    remove_folder(str(path))
    assert (tmp_path / "target").exists()
    assert os.path.lexists(path) == (kind != "missing")
