"""The local history: finished trials in one small table beside the store, so that an answer needs no MLflow.

`table` keeps the synced file, `exchange` reads and writes tables for people and other tools, `columns` says what stands
in them, `mapping` what other tools call it, `times` how long a run took, `ready` has the mappings that come with kdrec;
`namesakes` says which trials are of one task; `replication` has the trials that come with kdrec, and `provenance` how
they were made. Nothing here imports MLflow or pandas; a store is asked through a function that the caller brings.
"""

from kdrec.history.exchange import Taken, columns_of, read_table, take, write_table
from kdrec.history.mapping import TableMap
from kdrec.history.namesakes import Apart, told_apart
from kdrec.history.provenance import Provenance
from kdrec.history.ready import Added, chosen
from kdrec.history.replication import comparable, shipped, shipped_provenance, with_shipped, without_namesakes
from kdrec.history.table import add, changed, load, store_marker, sync

__all__ = [
    "Added",
    "Apart",
    "Provenance",
    "TableMap",
    "Taken",
    "add",
    "changed",
    "chosen",
    "columns_of",
    "comparable",
    "load",
    "read_table",
    "shipped",
    "shipped_provenance",
    "store_marker",
    "sync",
    "take",
    "told_apart",
    "with_shipped",
    "without_namesakes",
    "write_table",
]
