"""The tables of a store: whether they are those of the installed MLflow, and what to do when they are not.

MLflow itself, opened on older tables, changes them at once where a table is missing, with no copy made and under
everybody who shares the store: so they are looked at first.
"""

from __future__ import annotations

import logging
from functools import cache
from pathlib import Path
from typing import Any, Literal

from kdrec.errors import StoreError

Revision = Literal["current", "old", "newer", "none", "hidden"]
"""Of the tables: as the installed MLflow wants them, older, unknown to it, not there yet, or a server's own affair."""


def revision_of(connection: Any) -> tuple[Revision, str]:
    """How old the tables of a database are, and their revision as Alembic calls it; empty where there are none."""
    from alembic.runtime.migration import MigrationContext

    logging.getLogger("alembic").setLevel(logging.WARNING)
    named = MigrationContext.configure(connection).get_current_revision()
    if named is None:
        return "none", ""
    scripts = _scripts()
    if named in scripts.get_heads():
        return "current", named
    return ("old" if any(script.revision == named for script in scripts.walk_revisions()) else "newer"), named


def refuse_other_tables(connection: Any, where: str) -> None:
    """Refuse tables of another MLflow; `where` is the store's URI without credentials.

    Raises
    ------
    StoreError
        Naming the command that brings older tables up to date.
    """
    import mlflow

    revision, named = revision_of(connection)
    if revision == "old":
        raise StoreError(
            f"the tables of {where} ({named}) are older than MLflow {mlflow.__version__} wants; make a copy of the "
            f"database, then run: {upgrade_command(where)}"
        )
    if revision == "newer":
        raise StoreError(
            f"the tables of {where} ({named}) are of a newer MLflow than {mlflow.__version__}; update mlflow here to "
            "the version that wrote them"
        )


def upgrade_command(where: str) -> str:
    """The command that brings tables up to date, with a word in the place of a URI that hides a password."""
    return f"mlflow db upgrade '{'URI' if '***' in where else where}'"


@cache
def _scripts() -> Any:
    """The migrations that come with the installed MLflow; to read them takes longer than to ask the database."""
    import mlflow
    from alembic.config import Config
    from alembic.script import ScriptDirectory

    config = Config()
    folder = Path(mlflow.__file__).parent / "store" / "db_migrations"
    if not folder.is_dir():
        raise StoreError(f"this MLflow {mlflow.__version__} has no migrations at {folder}; reinstall it")
    config.set_main_option("script_location", str(folder).replace("%", "%%"))
    return ScriptDirectory.from_config(config)
