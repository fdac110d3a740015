"""The store: what is kept, what is rolled back, who may open it."""

from __future__ import annotations

import os
import sqlite3
from dataclasses import replace
from pathlib import Path

import pytest

from elastic_inference.control.store import Accelerator, AccessKey, Instance, Store
from elastic_inference.errors import ConfigurationError, ConflictError
from tests.pools import open_files

INSTANCE = Instance(
    id="i-1",
    account="000000000000",
    name="app",
    state="running",
    client_token="t",
    accelerator_types=("eia1.medium", "eia1.large"),
    lease_seconds=30.0,
    created_at=1.5,
)
ACCELERATOR = Accelerator(
    id="eia-1",
    type="eia1.medium",
    account="000000000000",
    instance_id="i-1",
    association_id="eia-assoc-1",
    token_key=b"k" * 32,
    placement={"device": "cpu"},
    created_at=2.5,
)
KEY = AccessKey(id="EIAK1", secret="s", account="000000000000", instance_id="i-1")


def test_what_is_written_is_there_after_a_restart(tmp_path: Path) -> None:
    first = Store(tmp_path)
    first.add_instance(INSTANCE)
    first.add_accelerator(ACCELERATOR)
    first.add_access_key(KEY)
    first.set_setting("port", "1")
    first.set_setting("port", "2")
    first.close()
    second = Store(tmp_path)
    assert second.instances() == [INSTANCE]
    assert second.instance_by_token("000000000000", "t") == INSTANCE
    assert second.accelerators() == second.accelerators("i-1") == [ACCELERATOR]
    assert second.access_key("EIAK1") == second.access_key_of("i-1") == KEY
    assert second.access_key_of(None) is None
    assert second.setting("port") == "2"
    second.close()


def test_the_port_of_an_own_address_is_kept(tmp_path: Path) -> None:
    first = Store(tmp_path)
    first.add_instance(INSTANCE)
    first.add_accelerator(ACCELERATOR)
    first.set_own_port("eia-1", 30000)
    first.close()
    second = Store(tmp_path)
    assert second.accelerator("eia-1") == replace(ACCELERATOR, own_port=30000)
    second.set_own_port("eia-1", None)
    assert second.accelerator("eia-1") == ACCELERATOR
    second.close()


def test_a_store_of_the_first_version_is_brought_up(tmp_path: Path) -> None:
    first = Store(tmp_path)
    first.add_instance(INSTANCE)
    first.add_accelerator(ACCELERATOR)
    first.close()
    with sqlite3.connect(tmp_path / "pool.sqlite") as database:
        database.execute("ALTER TABLE accelerators DROP COLUMN own_port")
        database.execute("PRAGMA user_version = 1")
    database.close()
    second = Store(tmp_path)
    assert second.accelerators() == [ACCELERATOR]
    second.set_own_port("eia-1", 30000)
    second.close()
    third = Store(tmp_path)
    assert third.accelerators() == [replace(ACCELERATOR, own_port=30000)]
    third.close()


def test_a_transaction_is_whole_or_nothing(tmp_path: Path) -> None:
    store = Store(tmp_path)

    def twice() -> None:
        with store.transaction():
            store.add_instance(INSTANCE)
            store.add_instance(INSTANCE)

    with pytest.raises(sqlite3.IntegrityError):
        twice()
    assert store.instances() == []
    store.close()


def test_what_ended_long_ago_is_forgotten(tmp_path: Path) -> None:
    store = Store(tmp_path)
    store.add_instance(INSTANCE)
    store.add_accelerator(ACCELERATOR)
    store.add_access_key(KEY)
    store.forget_instances(100.0)
    assert store.instance("i-1") is not None
    store.remove_of_instance("i-1")
    store.set_instance_state("i-1", "terminated", 50.0)
    store.forget_instances(50.0)
    assert store.instance("i-1") is not None
    store.forget_instances(51.0)
    assert store.instances() == []
    assert store.accelerators() == []
    assert store.access_key("EIAK1") is None
    store.close()


def test_a_second_one_on_the_same_directory_is_refused(tmp_path: Path) -> None:
    first = Store(tmp_path)
    with pytest.raises(ConflictError, match="Another control plane"):
        Store(tmp_path)
    first.close()
    Store(tmp_path).close()


def test_a_file_that_is_no_store_is_refused(tmp_path: Path) -> None:
    (tmp_path / "pool.sqlite").write_bytes(b"not a database, whatever its name says" * 100)
    with pytest.raises(ConfigurationError, match="Cannot open the pool's state") as refused:
        Store(tmp_path)
    assert _open_in(tmp_path) == []
    assert "--state DIR" in refused.value.next_step


def test_a_newer_store_is_left_alone(tmp_path: Path) -> None:
    Store(tmp_path).close()
    with sqlite3.connect(tmp_path / "pool.sqlite") as database:
        database.execute("PRAGMA user_version = 99")
    database.close()
    with pytest.raises(ConfigurationError, match="newer version") as refused:
        Store(tmp_path)
    assert _open_in(tmp_path) == []
    assert "--state DIR" in refused.value.next_step


def _open_in(directory: Path) -> list[str]:
    """What this process has open in a directory."""
    return [each for each in open_files(os.getpid()) if Path(each).is_relative_to(directory)]
