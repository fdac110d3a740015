"""The store: what is kept, what is rolled back, who may open it, and how it came to its tables."""

from __future__ import annotations

import contextlib
import os
import resource
import sqlite3
import stat
import threading
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path

import pytest
from alembic import command
from alembic.autogenerate import compare_metadata
from alembic.migration import MigrationContext
from alembic.script import ScriptDirectory
from sqlalchemy import JSON, Connection, Engine, create_engine, inspect, text
from sqlalchemy.pool import NullPool

from elastic_inference.control import database, migrate, schema
from elastic_inference.control.records import (
    Accelerator,
    AccessKey,
    Attachment,
    InlinePolicy,
    Instance,
    InstanceProfile,
    Nonce,
    PolicyRecord,
    Usage,
)
from elastic_inference.control.store import Store
from elastic_inference.errors import ConfigurationError, ConflictError, UnavailableError
from tests import postgresql
from tests.pools import open_files

OpenStore = Callable[..., Store]

INSTANCE = Instance(
    id="i-1",
    name="app",
    state="running",
    client_token="t",
    accelerator_types=("eia1.medium", "eia1.large"),
    lease_seconds=30.0,
    group_ids=("sg-1",),
    tags={"team": "vision"},
    place={"uid": 7, "network": None},
    created_at=1764300000.123456,
)
ACCELERATOR = Accelerator(
    id="eia-1",
    type="eia1.medium",
    account="000000000000",
    instance_id="i-1",
    association_id="eia-assoc-1",
    token_key=bytes(range(32)),
    placement={"device": "cpu"},
    created_at=2.5,
)
KEY = AccessKey(id="EIAK1", secret="s", kind="role", name="r", instance_id="i-1")
USAGE = Usage(
    account="000000000000", accelerator_id="eia-1", accelerator_type="eia1.medium",
    instance_id="i-1", tags={}, began_at=1764300000.25, seconds=0.125, open=True,
    boot_id="b", mark=1e6 + 0.1,
)  # fmt: skip


@pytest.fixture(scope="session")
def server() -> Iterator[postgresql.Server]:
    with postgresql.server() as running:
        yield running


@pytest.fixture(params=["sqlite", "postgresql"])
def url(request: pytest.FixtureRequest) -> str | None:
    """What EI_DATABASE is: None for a file."""
    if request.param == "sqlite":
        return None
    made: str = request.getfixturevalue("server").new_database()
    return made


@pytest.fixture
def open_store(tmp_path: Path, url: str | None) -> Iterator[OpenStore]:
    """Open the same store again and again; the state directory may be another one."""
    with contextlib.ExitStack() as stack:

        def opened(directory: Path = tmp_path) -> Store:
            store = Store(directory, url)
            stack.callback(store.close)
            return store

        yield opened


@pytest.fixture
def engine(tmp_path: Path, url: str | None) -> Iterator[Engine]:
    """The same database as another program has it."""
    options = {} if url is None else {"connect_args": {"client_encoding": "utf8"}}
    made = create_engine(
        url or f"sqlite:///{tmp_path / database.FILE}", **options, poolclass=NullPool
    )
    yield made
    made.dispose()


def filled(store: Store) -> Store:
    store.instances.add(INSTANCE)
    store.accelerators.add(ACCELERATOR)
    store.keys.add(KEY)
    return store


# -- what is kept -------------------------------------------------------------------------------


def test_what_is_written_is_there_after_a_restart(open_store: OpenStore) -> None:
    first = filled(open_store())
    first.usage.add(USAGE)
    first.set_setting("port", "1")
    first.set_setting("port", "2")
    first.close()
    first.close()
    second = open_store()
    assert second.instances.where() == [INSTANCE]
    assert second.instance_by_token("000000000000", "t") == INSTANCE
    assert second.accelerators_of("i-1") == [ACCELERATOR]
    assert second.accelerators_by_instance(["i-1", "i-2"]) == {"i-1": [ACCELERATOR], "i-2": []}
    assert second.keys.get("EIAK1") == KEY
    assert second.owner_key() is None
    assert second.setting("port") == "2"
    (usage,) = second.usage.where()
    assert usage.id is not None
    assert replace(usage, id=None) == USAGE


def test_a_field_is_set_and_unset_again(open_store: OpenStore) -> None:
    store = filled(open_store())
    store.set_accelerator("eia-1", own_port=30000)
    assert store.accelerators.get("eia-1") == replace(ACCELERATOR, own_port=30000)
    store.set_accelerator("eia-1", own_port=None)
    assert store.accelerators.get("eia-1") == ACCELERATOR
    store.set_instance("i-1", client_token=None, accelerator_types=["eia1.xlarge"])
    changed = store.instances.get("i-1")
    assert changed == replace(INSTANCE, client_token=None, accelerator_types=("eia1.xlarge",))


def test_conditions_orders_and_counts(open_store: OpenStore) -> None:
    store = open_store()
    columns = store.nonces.columns
    for number in range(5):
        store.nonces.add(Nonce(id=f"n{number}", expires_at=float(-number)))
    assert store.nonces.count() == 5
    last = store.nonces.first(order=(columns.expires_at,))
    assert last == Nonce(id="n4", expires_at=-4.0)
    found = store.nonces.where(columns.expires_at < 0, order=(columns.id.desc(),), limit=2)
    assert [each.id for each in found] == ["n4", "n3"]
    assert store.nonces.change(columns.expires_at < -1, expires_at=9.0) == 3
    assert store.nonces.remove(columns.expires_at == 9.0) == 3
    assert store.nonces.first(columns.id == "n4") is None
    assert {each.id for each in store.nonces.where()} == {"n0", "n1"}


def test_what_ended_long_ago_is_forgotten(open_store: OpenStore) -> None:
    store = open_store()
    store.instances.add(INSTANCE)
    store.forget_instances(100.0)
    assert store.instances.count() == 1, "it runs"
    store.set_instance("i-1", state="terminated", ended_at=50.0)
    store.forget_instances(50.0)
    assert store.instances.count() == 1
    store.forget_instances(51.0)
    assert store.instances.where() == []


# -- transactions -------------------------------------------------------------------------------


def test_a_transaction_is_whole_or_nothing(open_store: OpenStore) -> None:
    store = open_store()

    def half() -> None:
        with store.transaction():
            store.instances.add(INSTANCE)
            assert store.instances.get("i-1") == INSTANCE, "it sees what it did"
            raise RuntimeError

    with pytest.raises(RuntimeError):
        half()
    assert store.instances.where() == []


def test_one_within_another_is_part_of_it(open_store: OpenStore) -> None:
    store = open_store()

    def outer(*, fails: bool) -> None:
        with store.transaction():
            with store.transaction(durable=False):
                store.instances.add(INSTANCE)
            if fails:
                raise RuntimeError

    with pytest.raises(RuntimeError):
        outer(fails=True)
    assert store.instances.where() == []
    outer(fails=False)
    assert store.instances.where() == [INSTANCE]


def test_a_key_twice_is_a_conflict_and_undoes_its_transaction(open_store: OpenStore) -> None:
    store = filled(open_store())

    def again(changed: Instance) -> None:
        with store.transaction():
            store.set_instance("i-1", name="other")
            store.instances.add(changed)

    for duplicate in (INSTANCE, replace(INSTANCE, id="i-2")):
        with pytest.raises(ConflictError, match="has that already"):
            again(duplicate)
        assert store.instances.where() == [INSTANCE]
    # Two without a client token are two.
    store.instances.add(replace(INSTANCE, id="i-3", client_token=None))
    store.instances.add(replace(INSTANCE, id="i-4", client_token=None))


def test_what_refers_to_nothing_is_refused(open_store: OpenStore) -> None:
    store = open_store()
    with pytest.raises(ConflictError):
        store.accelerators.add(ACCELERATOR)
    assert store.accelerators.where() == []


def test_others_read_what_was_before_until_a_transaction_is_whole(open_store: OpenStore) -> None:
    store = open_store()
    seen: list[int] = []
    with store.transaction():
        store.instances.add(INSTANCE)
        other = threading.Thread(target=lambda: seen.append(store.instances.count()))
        other.start()
        other.join()
    assert seen == [0]
    assert store.instances.count() == 1


def test_many_threads_change_one_after_the_other(open_store: OpenStore) -> None:
    store = open_store()
    store.set_setting("count", "0")

    def work() -> None:
        for _ in range(20):
            with store.transaction(durable=False):
                store.set_setting("count", str(int(store.setting("count") or 0) + 1))

    workers = [threading.Thread(target=work) for _ in range(4)]
    for each in workers:
        each.start()
    for each in workers:
        each.join()
    assert store.setting("count") == "80"


# -- who may open it ----------------------------------------------------------------------------


def test_a_second_one_on_the_same_directory_is_refused(open_store: OpenStore) -> None:
    first = open_store()
    with pytest.raises(ConflictError, match="Another control plane") as refused:
        open_store()
    assert "--state DIR" in refused.value.next_step
    first.close()
    open_store()


def test_a_second_one_on_the_same_database_is_refused(
    server: postgresql.Server, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(database, "_LOCKED_FOR", 0.1)
    url = server.new_database()
    first = Store(tmp_path / "a", url)
    with pytest.raises(ConflictError, match="Another control plane uses postgresql") as refused:
        Store(tmp_path / "b", url)
    assert "EI_DATABASE" in refused.value.next_step
    first.close()
    Store(tmp_path / "b", url).close()


def test_one_that_lost_its_connections_has_no_database_until_it_owns_it_again(
    server: postgresql.Server, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(database, "_LOCKED_FOR", 0.1)
    url = server.new_database()
    first = filled(Store(tmp_path / "a", url))
    server.disconnect(url)
    second = Store(tmp_path / "b", url)
    with pytest.raises(ConflictError, match="Another control plane"):
        first.set_instance("i-1", name="lost")
    second.set_instance("i-1", name="kept")
    second.close()
    first.set_instance("i-1", state="stopped")
    now = first.instances.get("i-1")
    assert now == replace(INSTANCE, name="kept", state="stopped")
    first.close()


def test_it_is_its_users_alone(tmp_path: Path) -> None:
    store = filled(Store(tmp_path / "state"))
    assert stat.S_IMODE((tmp_path / "state").stat().st_mode) == 0o700
    modes = {
        each.name: stat.S_IMODE(each.stat().st_mode) for each in (tmp_path / "state").iterdir()
    }
    assert set(modes) == {"lock", "pool.sqlite", "pool.sqlite-wal", "pool.sqlite-shm"}
    assert set(modes.values()) == {0o600}
    store.close()


def test_a_file_that_is_no_store_is_refused(tmp_path: Path) -> None:
    path = tmp_path / database.FILE
    path.write_bytes(b"not a database, whatever its name says" * 100)
    with pytest.raises(ConfigurationError, match="Cannot open the pool's state") as refused:
        Store(tmp_path)
    assert str(path) in refused.value.message
    assert "move it away" in refused.value.next_step
    assert _open_in(tmp_path) == []
    path.unlink()
    Store(tmp_path).close()


def test_a_damaged_store_is_refused(tmp_path: Path) -> None:
    store = Store(tmp_path)
    for number in range(200):
        store.nonces.add(Nonce(id=f"n{number}", expires_at=1.0))
    store.close()
    path = tmp_path / database.FILE
    content = bytearray(path.read_bytes())
    # All but the first page, by which it is known.
    content[4096:] = b"\x5a" * (len(content) - 4096)
    path.write_bytes(content)
    with pytest.raises(ConfigurationError, match="Cannot open the pool's state") as refused:
        Store(tmp_path)
    assert str(path) in refused.value.message
    assert ".recover" in refused.value.next_step
    assert _open_in(tmp_path) == []


def test_a_locked_store_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(database, "_LOCKED_FOR", 0.1)
    filled(Store(tmp_path)).close()
    path = tmp_path / database.FILE
    with contextlib.closing(sqlite3.connect(path)) as other:
        other.execute("PRAGMA locking_mode = EXCLUSIVE")
        other.execute("BEGIN EXCLUSIVE")
        with pytest.raises(ConfigurationError, match="locked") as refused:
            Store(tmp_path)
        assert refused.value.next_step.endswith(f"fuser {path}")
    assert _open_in(tmp_path) == []
    store = Store(tmp_path)
    assert store.instances.where() == [INSTANCE]
    store.close()


def test_one_that_is_locked_meanwhile_says_so_and_goes_on(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(database, "_LOCKED_FOR", 0.1)
    store = filled(Store(tmp_path))
    with contextlib.closing(sqlite3.connect(tmp_path / database.FILE)) as other:
        other.execute("BEGIN IMMEDIATE")
        with pytest.raises(UnavailableError, match="locked"):
            store.set_instance("i-1", state="stopped")
        assert store.instances.where() == [INSTANCE], "it may be read"
    store.set_instance("i-1", state="stopped")
    assert store.instances.where() == [replace(INSTANCE, state="stopped")]
    store.close()


def test_a_newer_store_is_left_alone(open_store: OpenStore, engine: Engine, tmp_path: Path) -> None:
    filled(open_store()).close()
    with engine.begin() as connection:
        connection.execute(text("UPDATE alembic_version SET version_num = '9999'"))
    with pytest.raises(ConfigurationError, match="newer version") as refused:
        open_store()
    assert _name(engine) in refused.value.message
    assert "--state DIR" in refused.value.next_step
    assert _open_in(tmp_path) == []
    with engine.begin() as connection:
        connection.execute(
            text("UPDATE alembic_version SET version_num = :head"), {"head": schema.HEAD}
        )
    assert open_store().instances.where() == [INSTANCE]


def test_a_database_of_another_program_is_left_alone(
    open_store: OpenStore, engine: Engine, tmp_path: Path
) -> None:
    with engine.begin() as connection:
        connection.execute(text("CREATE TABLE theirs (id INTEGER)"))
    with pytest.raises(ConfigurationError, match="not this program's") as refused:
        open_store()
    assert _name(engine) in refused.value.message
    assert "EI_DATABASE" in refused.value.next_step
    assert _open_in(tmp_path) == []
    assert inspect(engine).get_table_names() == ["theirs"]


@pytest.mark.parametrize(
    "url",
    ["nonsense", "oracle+nothing://x/y", "postgresql+psycopg://127.0.0.1:1/none"],
)
def test_a_url_that_leads_nowhere_is_refused(tmp_path: Path, url: str) -> None:
    with pytest.raises(ConfigurationError) as refused:
        Store(tmp_path, url)
    assert "EI_DATABASE" in refused.value.next_step
    assert _open_in(tmp_path) == []


def test_a_password_is_not_told(tmp_path: Path) -> None:
    with pytest.raises(ConfigurationError) as refused:
        Store(tmp_path, "postgresql+psycopg://me:secret@127.0.0.1:1/none")
    assert "secret" not in f"{refused.value}{refused.value.next_step}"


# -- a disk that is full, a server that is gone --------------------------------------------------


def test_a_full_disk_is_told_and_nothing_has_changed(tmp_path: Path) -> None:
    store = filled(Store(tmp_path))
    with _no_room():
        with pytest.raises(UnavailableError, match="cannot use its state") as refused:
            store.set_instance("i-1", state="stopped")
        assert str(tmp_path) in refused.value.message
        with pytest.raises(UnavailableError):
            store.instances.add(replace(INSTANCE, id="i-2", client_token=None))
        assert store.instances.where() == [INSTANCE]
    store.set_instance("i-1", state="stopped")
    store.close()
    again = Store(tmp_path)
    assert again.instances.where() == [replace(INSTANCE, state="stopped")]
    again.close()


def test_a_full_disk_at_the_start_is_told_and_may_be_tried_again(tmp_path: Path) -> None:
    with _no_room(), pytest.raises(ConfigurationError, match="Cannot open the pool's state"):
        Store(tmp_path)
    assert _open_in(tmp_path) == []
    filled(Store(tmp_path)).close()


def test_a_server_that_ends_is_told(tmp_path: Path) -> None:
    with postgresql.server() as short_lived:
        store = filled(Store(tmp_path, short_lived.url()))
    for use in (lambda: store.set_instance("i-1", state="stopped"), store.instances.where):
        with pytest.raises(UnavailableError, match="cannot use its state"):
            use()
    store.close()


# -- the tables ---------------------------------------------------------------------------------


def test_the_migrations_make_exactly_the_declared_tables(
    open_store: OpenStore, engine: Engine
) -> None:
    with engine.begin() as connection:
        assert _differences(connection) != []
        command.upgrade(migrate.configuration(connection), "head")
    with engine.begin() as connection:
        assert _differences(connection) == []
        script = ScriptDirectory.from_config(migrate.configuration(connection))
        assert script.get_heads() == [schema.HEAD]
        assert MigrationContext.configure(connection).get_current_revision() == schema.HEAD
    filled(open_store())


def test_a_new_database_has_the_tables_that_the_migrations_make(
    open_store: OpenStore, engine: Engine
) -> None:
    open_store()
    with engine.begin() as connection:
        assert _differences(connection) == []
        assert MigrationContext.configure(connection).get_current_revision() == schema.HEAD


def test_an_earlier_version_is_brought_up(open_store: OpenStore, engine: Engine) -> None:
    with engine.begin() as connection:
        configuration = migrate.configuration(connection)
        first = ScriptDirectory.from_config(configuration).get_base()
        assert first is not None
        command.upgrade(configuration, first)
    filled(open_store()).close()
    assert open_store().instances.where() == [INSTANCE]
    with engine.begin() as connection:
        assert _differences(connection) == []


def test_roles_that_were_there_can_be_given_by_profiles(
    open_store: OpenStore, engine: Engine
) -> None:
    with engine.begin() as connection:
        configuration = migrate.configuration(connection)
        first = ScriptDirectory.from_config(configuration).get_base()
        assert first is not None
        command.upgrade(configuration, first)
        connection.exec_driver_sql(
            "INSERT INTO roles (account, name, id, description, trust_policy, tags, created_at)"
            " VALUES ('000000000000', 'reader', 'AROA234567ABCDEFGHIJK', '', '{}', '{}', 1.5)"
        )
    store = open_store()
    (role,) = store.roles.where()
    assert role.max_session == 3600
    assert store.profiles.where() == [
        InstanceProfile(
            account=role.account,
            name="reader",
            id="AIPA234567ABCDEFGHIJK",
            role_name="reader",
            tags={},
            created_at=1.5,
        )
    ]


def test_the_policies_of_somebody(open_store: OpenStore) -> None:
    store, account = open_store(), "000000000000"
    own = "arn:aws:iam::aws:policy/AdministratorAccess"
    store.policies.add(
        PolicyRecord(
            account=account, name="mine", id="ANPA1", document="{}", description="",
            created_at=1.0, updated_at=1.0,
        )
    )  # fmt: skip
    for kind, name, policy in (("user", "ann", "mine"), ("user", "ann", own), ("role", "ann", own)):
        store.attachments.add(Attachment(account=account, policy=policy, kind=kind, name=name))
    for kind, document in (("user", "[1]"), ("role", "[2]")):
        store.inline_policies.add(
            InlinePolicy(account=account, kind=kind, name="ann", policy="inside", document=document)
        )
    found = dict(store.documents_of(account, "user", "ann"))
    assert set(found) == {"mine", "AdministratorAccess", "inside"}
    assert (found["mine"], found["inside"]) == ("{}", "[1]")
    assert set(dict(store.documents_of(account, "role", "ann"))) == {
        "AdministratorAccess",
        "inside",
    }
    assert store.documents_of(account, "user", "bob") == []


def _default_differs(
    context: object, found: object, declared: object, default: str | None, *_: object
) -> bool | None:
    """As Alembic does it, but for JSON, of which PostgreSQL has no equality."""
    del context, found
    if not isinstance(declared.type, JSON):  # type: ignore[attr-defined]  # a column
        return None
    wanted = declared.server_default  # type: ignore[attr-defined]  # a column
    text = None if wanted is None else f"'{wanted.arg}'"
    return text != (default and default.removesuffix("::json"))


def _differences(connection: Connection) -> list[object]:
    options = {"compare_type": True, "compare_server_default": _default_differs}
    context = MigrationContext.configure(connection, opts=options)
    found: list[object] = compare_metadata(context, schema.metadata)
    return found


def _name(engine: Engine) -> str:
    return engine.url.database or "" if engine.dialect.name == "sqlite" else str(engine.url)


@contextlib.contextmanager
def _no_room() -> Iterator[None]:
    """No file of this process grows."""
    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (0, before[1]))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, before)


def _open_in(directory: Path) -> list[str]:
    """What this process has open in a directory."""
    return [each for each in open_files(os.getpid()) if Path(each).is_relative_to(directory)]
