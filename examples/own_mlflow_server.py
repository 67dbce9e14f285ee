"""Record a study on your MLflow server: `KDREC_TRACKING_URI=http://HOST:5000 python examples/own_mlflow_server.py`."""

from dataclasses import replace
from pathlib import Path

from rich import print

from kdrec.home import Home
from kdrec.studies import Study
from kdrec.tracking import Store, redacted
from kdrec.trial import run_study

home = Home.from_env()  # names the server; a password in its address is never written anywhere
study = replace(Study.load(Path(__file__).with_name("tickets.toml")), name="tickets-on-a-server", seeds=(1,))
(result,) = run_study(study, home)
ids = {trial.run_id for trial in result.trials}
kept = [trial for trial in Store.open(home).trials()[0] if trial.run_id in ids]  # read back from the server
for trial in kept:
    print(f"run {trial.run_id}: {trial.config.label()}, validation {trial.val_score:.1f}")
print(f"{len(kept)} of {len(ids)} trials are on {redacted(home.tracking_uri)}, below run {result.run_id}")
