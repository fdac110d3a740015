"""Files where somebody who is not trusted may have put something else."""

from __future__ import annotations

import os
import stat
from pathlib import Path

import pytest

from elastic_inference.isolation import files
from elastic_inference.isolation.shared import share


def test_a_file_is_replaced_and_no_link_is_followed(tmp_path: Path) -> None:
    victim = tmp_path / "victim"
    victim.write_text("precious")
    path = tmp_path / "server.key"
    path.symlink_to(victim)
    files.write_private(path, b"key")
    assert victim.read_text() == "precious"
    assert (path.read_bytes(), path.is_symlink()) == (b"key", False)
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    assert sorted(each.name for each in tmp_path.iterdir()) == ["server.key", "victim"]


def test_a_file_that_cannot_be_replaced_leaves_nothing(tmp_path: Path) -> None:
    path = tmp_path / "server.key"
    path.mkdir()
    with pytest.raises(OSError, match="directory"):
        files.write_private(path, b"key")
    assert list(tmp_path.iterdir()) == [path]


def test_a_log_goes_on_and_begins_anew_when_it_is_long(tmp_path: Path) -> None:
    path = tmp_path / "log"
    for expected in (b"12345", b"1234512345", b"123451234512345", b"12345"):
        with os.fdopen(files.open_log(path, 10), "ab") as log:
            log.write(b"12345")
        assert path.read_bytes() == expected


def test_a_log_is_not_added_to_anything_else(tmp_path: Path) -> None:
    victim = tmp_path / "victim"
    victim.write_text("precious")
    path = tmp_path / "log"
    path.symlink_to(victim)
    with pytest.raises(OSError, match="symbolic"):
        files.open_log(path, 10)
    path.unlink()
    path.hardlink_to(victim)
    os.close(files.open_log(path, 10))
    assert path.read_bytes() == b""
    assert victim.read_text() == "precious"
    path.unlink()
    os.mkfifo(path)
    with pytest.raises(OSError, match="No such device"):
        files.open_log(path, 10)


def test_only_a_file_is_read(tmp_path: Path) -> None:
    (tmp_path / "file").write_bytes(b"0123456789")
    assert files.read_plain(tmp_path / "file", 4, 3) == b"3456"
    (tmp_path / "link").symlink_to("file")
    os.mkfifo(tmp_path / "pipe")
    for name in ("link", "pipe", "missing"):
        with pytest.raises(OSError, match=r"."):
            files.read_plain(tmp_path / name, 4)


def test_directories_nested_without_end_are_removed(tmp_path: Path) -> None:
    top = tmp_path / "top"
    top.mkdir()
    here = os.open(top, os.O_RDONLY)
    for _ in range(3000):
        os.mkdir("d", dir_fd=here)
        there = os.open("d", os.O_RDONLY, dir_fd=here)
        os.close(here)
        here = there
    os.close(here)
    files.remove_tree(top)
    assert not top.exists()


@pytest.mark.root
@pytest.mark.usefixtures("uid")
def test_a_directory_and_all_in_it_is_shared_by_a_group_of_its_own(tmp_path: Path) -> None:
    first, second = tmp_path / "1", tmp_path / "2"
    for account in (first, second):
        (account / "blobs").mkdir(parents=True, mode=0o700)
        (account / "blobs" / "old").write_bytes(b"old")
        (account / "blobs" / "old").chmod(0o600)
        (account / "link").symlink_to("/etc/passwd")
    outside = Path("/etc/passwd").stat()
    groups = [share(first), share(second)]
    assert groups[0] != groups[1]
    assert share(first) == groups[0]
    for path in (first, first / "blobs", first / "blobs" / "old"):
        assert path.stat().st_gid == groups[0]
        assert path.stat().st_mode & 0o007 == 0
        assert path.stat().st_mode & 0o060 == 0o060
    assert Path("/etc/passwd").stat() == outside
    (first / "new").mkdir()
    assert (first / "new").stat().st_gid == groups[0]
