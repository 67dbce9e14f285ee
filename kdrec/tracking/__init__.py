"""The only speaker of MLflow: what a study does is written as runs, and read back as the same typed trials.

`connect` reaches a store (and says in words when it cannot), `runs` translates between nouns and tags, `notes` writes
what a person reads beside a run, `registry` keeps students to take home, `store` offers the doors. Importing this
package does not import MLflow.
"""

from kdrec.errors import redacted
from kdrec.tracking.bulletins import bulletin_note
from kdrec.tracking.connect import PAUSES, patiently
from kdrec.tracking.made import CellMade, Made, TeacherMade
from kdrec.tracking.notes import cell_note, closing_note, escaped, rows_in_words, warned
from kdrec.tracking.recorded import Recorded
from kdrec.tracking.registry import CARD, Entry, Version
from kdrec.tracking.runs import TrialKind
from kdrec.tracking.store import Store

__all__ = [
    "CARD",
    "PAUSES",
    "CellMade",
    "Entry",
    "Made",
    "Recorded",
    "Store",
    "TeacherMade",
    "TrialKind",
    "Version",
    "bulletin_note",
    "cell_note",
    "closing_note",
    "escaped",
    "patiently",
    "redacted",
    "rows_in_words",
    "warned",
]
