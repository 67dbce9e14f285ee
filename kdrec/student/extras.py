"""What the installation has beside the least: asked before anything is read, fetched or trained, and without torch."""

from __future__ import annotations

from importlib.util import find_spec
from typing import Final

from kdrec.errors import KdrecError

ONNX: Final = ("onnx", "onnxruntime", "onnxscript")


def check_onnx(*wanted: bool) -> None:
    """Refuse graphs that this installation cannot write; nothing where none is wanted.

    Raises
    ------
    KdrecError
        Names the packages that are missing, and how they are installed.
    """
    missing = [name for name in ONNX if any(wanted) and find_spec(name) is None]
    if missing:
        raise KdrecError(f"ONNX needs {', '.join(missing)}: pip install 'kdrec[onnx]'")
