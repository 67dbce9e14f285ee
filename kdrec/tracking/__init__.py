"""The only speaker of MLflow: what a study does is written as runs, and read back as the same typed trials.

`connect` reaches a store (and says in words when it cannot), `runs` translates between nouns and tags, `notes` writes
what a person reads beside a run, `store` offers the doors. Importing this package does not import MLflow.
"""

from kdrec.errors import redacted
from kdrec.tracking.made import CellMade, Made, TeacherMade
from kdrec.tracking.notes import cell_note, closing_note
from kdrec.tracking.recorded import Recorded
from kdrec.tracking.store import Store

__all__ = ["CellMade", "Made", "Recorded", "Store", "TeacherMade", "cell_note", "closing_note", "redacted"]
