"""Bringing a database to the tables of this version."""

from __future__ import annotations

from typing import TYPE_CHECKING

from sqlalchemy import Column, Connection, Engine, MetaData, String, Table, insert, inspect, select

from elastic_inference.control import schema
from elastic_inference.errors import ConfigurationError

if TYPE_CHECKING:
    from alembic.config import Config

# As Alembic makes it.
_versions = Table(
    "alembic_version",
    MetaData(naming_convention={"pk": "%(table_name)s_pkc"}),
    Column("version_num", String(32), primary_key=True),
)


def prepare(engine: Engine, name: str) -> None:
    """Make the tables, or bring those of an earlier version up; all of it or nothing.

    Args:
        name: of the database, for messages.

    Raises:
        ConfigurationError: another or a newer program wrote it.
    """
    tables = set(inspect(engine).get_table_names())
    if not tables:
        _make(engine)
    elif _versions.name not in tables:
        raise ConfigurationError(
            f"The database {name} has tables that are not this program's, or are those of a"
            " version before 0.2.",
            next_step="Move it away, or name another with --state DIR or EI_DATABASE.",
        )
    elif _version(engine) != schema.HEAD:
        _upgrade(engine, name)


def _make(engine: Engine) -> None:
    # What the migrations would make; Alembic itself takes long to load.
    with engine.begin() as connection:
        schema.metadata.create_all(connection)
        _versions.create(connection)
        connection.execute(insert(_versions).values(version_num=schema.HEAD))


def _version(engine: Engine) -> str | None:
    with engine.begin() as connection:
        found: str | None = connection.scalar(select(_versions.c.version_num))
    return found


def _upgrade(engine: Engine, name: str) -> None:
    from alembic import command  # noqa: PLC0415 - hardly ever needed, and slow to load
    from alembic.util.exc import CommandError  # noqa: PLC0415 - the same

    try:
        with engine.begin() as connection:
            command.upgrade(configuration(connection), "head")
    except CommandError as error:
        raise ConfigurationError(
            f"The database {name} was written by a newer version of Elastic Inference: {error}.",
            next_step="Use that version, or another --state DIR.",
        ) from error


def configuration(connection: Connection) -> Config:
    """Alembic's configuration for the migrations of this package on an open connection."""
    from alembic.config import Config  # noqa: PLC0415 - see above

    config = Config()
    config.set_main_option("script_location", "elastic_inference:migrations")
    config.attributes["connection"] = connection
    return config
