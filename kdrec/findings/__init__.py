"""What a history of many tasks and students says of the knobs: pure functions of a `History`, one finding each.

`cells` lays the history out, `intervals` puts doubt on a mean over tasks; `knobs`, `choice`, `path`, `labels_only`,
`teachers`, `noise` and `grids` each answer one question; `paper` sets the answers beside those of arXiv 2401.06356.
"""

from kdrec.findings.cells import Cell, cells

__all__ = ["Cell", "cells"]
