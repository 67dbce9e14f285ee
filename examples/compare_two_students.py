"""Compare two student sizes on one task, in points, parameters and time: `python examples/compare_two_students.py`."""

from dataclasses import replace
from pathlib import Path

from rich import print

from kdrec import catalog
from kdrec.home import Home
from kdrec.studies import Study
from kdrec.trial import run_study

study = replace(Study.load(Path(__file__).with_name("tickets.toml")), students=("small", "tiny"))
scores = {}
for result in run_study(study, Home.from_env()):
    card = catalog.card(result.cell.student)
    best = next(trial for trial in result.trials if trial.config == result.best)
    scores[card.name] = best.test_score
    print(f"{card.name} ({card.n_params / 1e6:.1f} M parameters, {best.seconds:.1f} s): {best.config.label()}")
    print(f"  validation {best.val_score:.1f}, test {best.test_score:.1f}, teacher {best.features.teacher_score:.1f}")
print(f"small minus tiny: {scores['small'] - scores['tiny']:+.1f} points; with so few test rows that may be chance")
