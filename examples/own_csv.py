"""Distil a student for the rows of your own CSV, and show what every trial scored: `python examples/own_csv.py`."""

from pathlib import Path

from rich import print

from kdrec import report
from kdrec.home import Home
from kdrec.studies import Study
from kdrec.trial import run_study

study = Study.load(Path(__file__).with_name("tickets.toml"))  # says which file, which columns, what to search
home = Home.from_env()  # KDREC_HOME, or ./.kdrec
results = run_study(study, home, on_progress=lambda step: print(f"{step.part}: {step.message}"))
print(report.cells_table(results))
print(f"Every trial is recorded at {home.root}; run this again, and all of them are found.")
