"""The local history: finished trials in one small table beside the store, so that an answer needs no MLflow.

`table` keeps the synced file, `exchange` reads and writes tables for people and other tools, `columns` says what stands
in them. Nothing here imports MLflow or pandas; a store is asked through a function that the caller brings.
"""

from kdrec.history.exchange import read_table, write_table
from kdrec.history.table import add, changed, load, store_marker, sync

__all__ = ["add", "changed", "load", "read_table", "store_marker", "sync", "write_table"]
