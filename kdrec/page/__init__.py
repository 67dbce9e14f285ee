"""A study as one page of HTML that needs no network: the decision on top, then what stands behind it.

`sheet` reads a cell's trials, `answered` asks the recommender about it, `figures`, `tables` and `words` say what came
of that, `svg` makes a figure part of a page, and `html` fills the template, where every word of a user is escaped.
Nothing here opens a store: the same outcome and history give the same bytes.
"""

from kdrec.page.answered import CellAnswer, answers
from kdrec.page.html import render

__all__ = ["CellAnswer", "answers", "render"]
