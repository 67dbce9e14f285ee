"""Tasks: known ones and the user's own, split by content, tokenised once.

Rooms: `catalogue` (known tasks) and `files` (the user's own) make a `Task` by way of `readers`, `tables`, `conll`,
`structured`, `labels`, `rows`, `splits` and `transfer`; `reading` says what a file was read as; `family`, `sentence`,
`pair`, `tokens`, `qa` say what differs between families; `example`, `encoding` and `token_store` keep tokens;
`meta_features` says what the recommender may know. Importing this package loads nothing heavier than numpy.
"""

from kdrec.tasks.catalogue import KnownTask, known, load, read
from kdrec.tasks.encoding import encode
from kdrec.tasks.family import FAMILIES, Family, family, grader
from kdrec.tasks.files import load_file
from kdrec.tasks.meta_features import features
from kdrec.tasks.reading import ReadReport
from kdrec.tasks.rows import Row, Rows

__all__ = [
    "FAMILIES",
    "Family",
    "KnownTask",
    "ReadReport",
    "Row",
    "Rows",
    "encode",
    "family",
    "features",
    "grader",
    "known",
    "load",
    "load_file",
    "read",
]
