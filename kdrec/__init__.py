"""kdrec: which knowledge-distillation configuration to start from, and what tuning it further would buy."""

__version__ = "0.1.0"
