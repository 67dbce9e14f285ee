"""Go on with a study by the trials that the recommender suggests next: `python examples/continue_study.py`."""

from pathlib import Path

from rich import print

from kdrec import handover, question, recommend, report
from kdrec.home import Home
from kdrec.studies import Study
from kdrec.trial import run_study

home, study = Home.from_env(), Study.load(Path(__file__).with_name("tickets.toml"))
(before,) = run_study(study, home)  # found, if it was run before
past = question.history_for(None, home)  # your trials, and those that come with kdrec
answer = recommend.suggest(past, before.trials[0].features, before.cell.student, budget=2)
print(f"Of {len(past)} trials the recommender says: {answer.reason}. Here its next two are made all the same.")
(after,) = run_study(handover.study_of(answer, "tickets-next", past, like=study), home)
print(report.cells_table([before, after]))
