"""How a store stands, without changing it: does it answer, and do its tables and its runs fit what is installed."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

from kdrec.errors import redacted
from kdrec.home import Home
from kdrec.tracking.connect import ask_health, asking, knock
from kdrec.tracking.runs import SCHEMA
from kdrec.tracking.tables import Revision, revision_of

_SCHEMAS: Final = (
    "SELECT t.value, COUNT(*) FROM experiment_tags t JOIN experiments e ON e.experiment_id = t.experiment_id "
    f"WHERE t.key = '{SCHEMA}' AND e.lifecycle_stage = 'active' GROUP BY t.value"
)


@dataclass(frozen=True, kw_only=True)
class Standing:
    """What was found; `where` holds no credential, `schemas` counts studies by their kdrec schema."""

    where: str
    revision: Revision
    named: str
    """Revision of the tables, as Alembic calls it; empty where it is hidden or none."""
    schemas: dict[str, int]


def standing(home: Home) -> Standing:
    """Look at the home's store; one that is not there is not made.

    Raises
    ------
    StoreError
        When it does not answer within seconds, or is no store.
    """
    if home.tracking_uri.startswith(("http://", "https://")):
        return _of_server(home)
    if home.store_file is None:
        knock(home.tracking_uri)
    elif not home.store_file.exists():
        return Standing(where=redacted(home.tracking_uri), revision="none", named="", schemas={})
    return _of_database(home)


def _of_server(home: Home) -> Standing:
    """A server checks its own tables when it starts."""
    uri = home.tracking_uri
    ask_health(uri)
    from mlflow import MlflowClient

    schemas: dict[str, int] = {}
    with asking(uri, "being looked at"):
        for experiment in MlflowClient(tracking_uri=uri).search_experiments():
            if SCHEMA in experiment.tags:
                schemas[experiment.tags[SCHEMA]] = schemas.get(experiment.tags[SCHEMA], 0) + 1
    return Standing(where=redacted(uri), revision="hidden", named="", schemas=schemas)


def _of_database(home: Home) -> Standing:
    import sqlalchemy

    uri = home.tracking_uri
    with asking(uri, "being looked at"):
        engine = sqlalchemy.create_engine(uri)
        try:
            with engine.connect() as connection:
                revision, named = revision_of(connection)
                has_tables = "experiment_tags" in sqlalchemy.inspect(connection).get_table_names()
                rows = connection.execute(sqlalchemy.text(_SCHEMAS)).all() if has_tables else []
        finally:
            engine.dispose()
    schemas = {str(schema): int(count) for schema, count in rows}
    return Standing(where=redacted(uri), revision=revision, named=named, schemas=schemas)
