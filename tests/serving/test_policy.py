from __future__ import annotations

import os
from pathlib import Path

import pytest

from elastic_inference.serving.config import ALL, SPECIFIC, VersionPolicy
from elastic_inference.serving.policy import SETTLE, choose, find, look


def _make(folder: Path, *names: str) -> None:
    for name in names:
        path = folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(b"x")


def test_versions_are_folders_whose_names_are_numbers(tmp_path: Path) -> None:
    for name in ("1", "00000123", "abc", "-4", "1.5", "2x", "99999999999999999999"):
        (tmp_path / name).mkdir()
    (tmp_path / "7").write_text("a file")
    found, odd = find(tmp_path)
    assert found == {1: tmp_path / "1", 123: tmp_path / "00000123"}
    assert odd == []


def test_two_folders_of_one_version(tmp_path: Path) -> None:
    (tmp_path / "5").mkdir()
    (tmp_path / "05").mkdir()
    found, odd = find(tmp_path)
    assert found == {5: tmp_path / "5"}
    (complaint,) = odd
    assert "Version 5 will be loaded from 5, 05 will be ignored" in complaint


def test_no_base_path(tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError):
        find(tmp_path / "none")


@pytest.mark.parametrize(
    ("policy", "chosen"),
    [
        (VersionPolicy(), {5}),
        (VersionPolicy(count=0), {5}),
        (VersionPolicy(count=2), {3, 5}),
        (VersionPolicy(count=9), {1, 3, 5}),
        (VersionPolicy(ALL), {1, 3, 5}),
        (VersionPolicy(SPECIFIC, versions=(3, 4)), {3}),
        (VersionPolicy(SPECIFIC), set()),
    ],
)
def test_what_is_to_be_served(policy: VersionPolicy, chosen: set[int]) -> None:
    assert choose(policy, {1, 3, 5}) == chosen


def test_a_folder_that_is_not_whole(tmp_path: Path) -> None:
    assert look(tmp_path).lacks == "it has no saved_model.pb yet"
    _make(tmp_path, "variables/variables.data-00000-of-00002", "saved_model.pb")
    assert look(tmp_path).lacks == "it has 1 of 2 files of variables yet"
    _make(tmp_path, "variables/variables.data-00001-of-00002")
    assert look(tmp_path).lacks == "it has no variables/variables.index yet"
    _make(tmp_path, "variables/variables.index")
    assert look(tmp_path).lacks == ""


def test_a_model_without_variables_is_whole(tmp_path: Path) -> None:
    _make(tmp_path, "saved_model.pb", "assets/words.txt")
    (tmp_path / "variables").mkdir()
    assert look(tmp_path).lacks == ""


def test_the_mark_follows_the_files(tmp_path: Path) -> None:
    _make(tmp_path, "saved_model.pb", "assets/words.txt")
    first = look(tmp_path)
    assert look(tmp_path).mark == first.mark
    path = tmp_path / "assets" / "words.txt"
    status = path.stat()
    path.write_bytes(b"longer")
    os.utime(path, ns=(status.st_atime_ns, status.st_mtime_ns))
    assert look(tmp_path).mark != first.mark


def test_what_changed_just_now_is_not_settled(tmp_path: Path) -> None:
    _make(tmp_path, "saved_model.pb")
    os.utime(tmp_path / "saved_model.pb", (1, 1))
    folder = look(tmp_path)
    # The time of a copied file is the original's, but not that of its change.
    assert not folder.is_settled(folder.changed + SETTLE / 2)
    assert folder.is_settled(folder.changed + SETTLE)
    assert folder.is_settled(folder.changed - 5), "the other machine's clock is ahead"


def test_a_link_to_nothing_does_not_hide_what_is_there(tmp_path: Path) -> None:
    for name in ("a", "z"):
        (tmp_path / name).symlink_to("nowhere")
    _make(tmp_path, "saved_model.pb")
    assert look(tmp_path).lacks == ""
