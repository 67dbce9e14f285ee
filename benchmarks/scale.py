"""How costs grow: with worker processes, with the cells of a study, with studies at once, with the trials of a store.

    python benchmarks/scale.py workers [--workers 1 2 4] [--repeats 2]
    python benchmarks/scale.py cells [--cells 50 100 200] [--seconds 0.05]
    python benchmarks/scale.py studies [--studies 1 10] [--store home server] [--bare]
    python benchmarks/scale.py history [--trials 1000 10000 100000]
    python benchmarks/scale.py page

`workers` trains a real small study whose teachers were made before. `cells` and `studies` run the command of studies
with workers that sleep in place of training (`asleep.py`). `history` reads stores that `many_trials.py` fills. Results
are appended to `benchmarks/results/scale.jsonl` as they come, each with machine, commit, versions, load and date; what
is found there is not repeated unless `--again` is given, and of one question the newest counts. `page` writes
`docs/scale.md` from them (`scale_page.py`).
"""

from __future__ import annotations

import argparse
import contextlib
import json
import os
import re
import shutil
import sqlite3
import statistics
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Iterator, Sequence
from datetime import UTC, datetime
from importlib.metadata import version
from pathlib import Path
from typing import Any

os.environ |= {"OMP_NUM_THREADS": "1", "TOKENIZERS_PARALLELISM": "false", "HF_HUB_OFFLINE": "1"}
os.environ |= {"PREFECT_SERVER_ANALYTICS_ENABLED": "false", "MLFLOW_DISABLE_TELEMETRY": "true"}

import many_trials
import psutil
import recipes
import scale_page
import sleeping_study

from kdrec.home import Home

HERE = Path(__file__).parent
RESULTS = HERE / "results" / "scale.jsonl"
PAGE = HERE.parent / "docs" / "scale.md"
LIBRARIES = ("mlflow", "prefect", "sqlalchemy", "torch")
ROLES = ("flow", "server", "workers")
SAMPLES = 12
"""Points of time at which memory is told of a study."""
SAMPLE_SECONDS = 2.0
CELLS = 6
"""Of each of the studies that run at once."""
REAL = """
name = "scale"
tasks = ["trec", "vader_tweets", "sms_spam", "rotten_tomatoes"]
students = ["small", "tiny"]
search = "listed"
rows = { train = 200, validation = 100, test = 100 }
configs = [{ alpha = 0.5 }, { alpha = 1.0 }, { distance = "mse" }]
teacher = { learning_rates = [2e-4], epochs = 1, evaluations_per_epoch = 1, max_length = 64 }
training = { epochs = 3, max_length = 64 }
"""
"""Eight cells of four trials, with two kinds of student."""


class Watched:
    """A command, its printed lines, and the memory of its processes while it runs."""

    def __init__(self, words: Sequence[str], environment: dict[str, str]) -> None:
        self.words, self.environment = list(words), environment
        self.samples: list[dict[str, float]] = []

    def run(self) -> dict[str, Any]:
        """Run to the end: wall and CPU seconds of all its processes, memory, and what was printed."""
        before = os.times()
        self.began = time.time()
        with tempfile.TemporaryFile("w+") as out:
            process = psutil.Popen(
                [sys.executable, *self.words],
                cwd=HERE.parent,
                env={**os.environ, **self.environment},
                stdout=out,
                stderr=subprocess.STDOUT,
            )
            watcher = threading.Thread(target=self._watch, args=(process,), daemon=True)
            watcher.start()
            code = process.wait()
            wall, after = time.time() - self.began, os.times()
            watcher.join()
            out.seek(0)
            printed = out.read()
        cpu = after.children_user + after.children_system - before.children_user - before.children_system
        return {"code": code, "wall_seconds": wall, "cpu_seconds": cpu, "printed": printed}

    def _watch(self, process: psutil.Process) -> None:
        while process.is_running() and process.status() != psutil.STATUS_ZOMBIE:
            found: dict[str, float] = {"seconds": time.time() - self.began, "threads": 0}
            found |= {f"{role}_{what}": 0 for role in ROLES for what in ("bytes", "cpu_seconds")}
            with contextlib.suppress(psutil.Error):
                found["threads"] = process.num_threads()
                for one in (process, *process.children(recursive=True)):
                    with contextlib.suppress(psutil.Error, ProcessLookupError):
                        role = "flow" if one == process else "server" if os.getsid(one.pid) == one.pid else "workers"
                        used = one.cpu_times()  # a server leaves its parent's session, workers stay in it
                        found[f"{role}_bytes"] += one.memory_info().rss
                        found[f"{role}_cpu_seconds"] += used.user + used.system
                self.samples.append(found)
            time.sleep(SAMPLE_SECONDS)

    def peaks(self) -> dict[str, float]:
        """Most memory, threads and CPU seconds that were seen of each kind of process."""
        names = [name for name in self.samples[0] if name != "seconds"] if self.samples else []
        return {f"peak_{name}" if "cpu" not in name else name: max(s[name] for s in self.samples) for name in names}

    def memory(self) -> list[dict[str, float]]:
        """Memory at a dozen points of time."""
        step = max(1, len(self.samples) // SAMPLES)
        return [
            {name: sample[name] for name in ("seconds", "flow_bytes", "server_bytes", "workers_bytes")}
            for sample in self.samples[::step]
        ]


def study_command(script: str, study: Path, home: Path, workers: int, environment: dict[str, str]) -> Watched:
    """A study as a command of its own, with a Prefect server of its own; without both where `workers` is 0."""
    clean = {"PYTHONPATH": os.pathsep.join([str(HERE.parent), str(HERE)]), **environment}
    start = ["-m", "flows.study"] if script == "flows.study" else [str(HERE / script)]
    bare = ["--bare"] if not workers else []
    number = ["--workers", str(workers)] if workers else []
    return Watched([*start, *bare, str(study), "--home", str(home), *number], clean)


def new_home(base: Path, name: str) -> Path:
    """An empty home that shares fetched packages with the others."""
    root = base / name
    shutil.rmtree(root, ignore_errors=True)
    root.mkdir(parents=True)
    (base / "sources").mkdir(exist_ok=True)
    (root / "sources").symlink_to((base / "sources").resolve(), target_is_directory=True)
    return root


def trial_times(home: Path) -> dict[str, Any]:
    """How many trials the store has, each fingerprint once or not, and when they began and ended (seconds)."""
    with contextlib.closing(sqlite3.connect(home / "mlflow.db")) as database:
        rows = database.execute(
            "SELECT r.start_time, r.end_time, f.value, s.value FROM runs r "
            "JOIN tags k ON k.run_uuid = r.run_uuid AND k.key = 'kdrec.kind' AND k.value = 'trial' "
            "JOIN tags f ON f.run_uuid = r.run_uuid AND f.key = 'kdrec.fingerprint' "
            "JOIN tags s ON s.run_uuid = r.run_uuid AND s.key = 'kdrec.status'"
        ).fetchall()
    done = [row for row in rows if row[3] == "completed"]
    return {
        "trials": len({row[2] for row in done}),
        "runs": len(rows),
        "unfinished": len(rows) - len(done),
        "first": min((row[0] for row in rows), default=0) / 1000,
        "last": max((row[1] or 0 for row in done), default=0) / 1000,
    }


def told(printed: str) -> tuple[int, int]:
    """New and found trials as the command says them; none where it did not come to its end."""
    match = re.search(r"trials, (\d+) new and (\d+) found", " ".join(printed.split()))
    return (int(match[1]), int(match[2])) if match else (-1, -1)


@contextlib.contextmanager
def loaded() -> Iterator[dict[str, Any]]:
    """What stands beside every result, with what others took of the machine meanwhile, in cores."""
    about: dict[str, Any] = {
        **recipes.machine(),
        "versions": {name: version(name) for name in LIBRARIES},
        "date": datetime.now(UTC).isoformat(timespec="seconds"),
        "load_before": os.getloadavg()[0],
    }
    began, busy, own = time.time(), _busy_seconds(), sum(os.times()[:4])
    yield about
    others = _busy_seconds() - busy - (sum(os.times()[:4]) - own)
    about |= {"load_after": os.getloadavg()[0], "others_cores": max(0.0, others / (time.time() - began))}


def _busy_seconds() -> float:
    """CPU seconds of all processes of this machine since it started."""
    times = psutil.cpu_times()
    return times.user + times.nice + times.system


def keep(record: dict[str, Any]) -> None:
    """Append a result, rounded to what its noise leaves, and say so."""
    recipes.append(RESULTS, _rounded(record))
    print({key: value for key, value in _rounded(record).items() if key not in ("memory", "versions")}, flush=True)


def _rounded(value: Any) -> Any:
    if isinstance(value, float):
        return round(value, 4)
    if isinstance(value, dict):
        return {key: _rounded(item) for key, item in value.items()}
    return [_rounded(item) for item in value] if isinstance(value, list) else value


def measure_workers(workers: int, repeat: int, base: Path) -> dict[str, Any]:
    """The real study by so many worker processes; its teachers, tokens and logits were made before."""
    study = base / "scale.toml"
    study.write_text(REAL)
    made = base / "teachers-home"
    if not (made / "ready").exists():
        new_home(base, made.name)
        done = study_command("flows.study", study, made, 2, {}).run()
        if done["code"]:
            sys.exit(done["printed"][-3000:])
        (made / "ready").touch()
    home = new_home(base, f"workers-{workers}")
    for folder in ("teachers", "tokens", "logits"):
        shutil.copytree(made / folder, home / folder)
    watched = study_command("flows.study", study, home, workers, {})
    done = watched.run()
    if done["code"]:
        sys.exit(done["printed"][-3000:])
    times = trial_times(home)
    with contextlib.closing(sqlite3.connect(home / "mlflow.db")) as database:
        (training,) = database.execute("SELECT SUM(value) FROM latest_metrics WHERE key = 'seconds'").fetchone()
    return {
        "wall_seconds": done["wall_seconds"],
        "cpu_seconds": done["cpu_seconds"],
        "span_seconds": times["last"] - times["first"],
        "training_seconds": training,
        "trials": times["trials"],
        **watched.peaks(),
    }


def measure_cells(cells: int, seconds: float, base: Path) -> dict[str, Any]:
    """A study of so many cells by one worker that sleeps, and the same once more, where all is found."""
    home = new_home(base, f"cells-{cells}")
    study = sleeping_study.write(base / f"study-{cells}", cells)
    environment = {"KDREC_ASLEEP_SECONDS": str(seconds)}
    watched = study_command("asleep.py", study, home, 1, environment)
    done = watched.run()
    times = trial_times(home)
    if done["code"]:
        sys.exit(done["printed"][-3000:])
    again = study_command("asleep.py", study, home, 1, environment)
    second = again.run()
    span = times["last"] - times["first"]
    return {
        "trials": times["trials"],
        "lost": cells * sleeping_study.TRIALS - times["trials"],
        "wall_seconds": done["wall_seconds"],
        "cpu_seconds": done["cpu_seconds"],
        "first_trial_seconds": times["first"] - watched.began,
        "last_trial_seconds": times["last"] - watched.began,
        "overhead_seconds": span / times["trials"] - seconds,
        "store_bytes": many_trials.folder_bytes(home),
        "prefect_bytes": sum(path.stat().st_size for path in (home / "prefect").glob("*.db*")),
        "again_seconds": second["wall_seconds"],
        "again_cpu_seconds": second["cpu_seconds"],
        "again_new_and_found": told(second["printed"]),
        **watched.peaks(),
        "memory": watched.memory(),
    }


def measure_studies(studies: int, where: str, prefect: bool, base: Path) -> dict[str, Any]:
    """Studies of six cells at once, each with tasks of its own, in one home; every trial is to be there once."""
    home = new_home(base, f"studies-{where}-{studies}-{prefect:d}")
    files = [
        sleeping_study.write(base / f"study-of-{at}", CELLS, name=f"asleep-{at}", first_task=100 * at)
        for at in range(studies)
    ]
    with _store(where, home) as uri:
        environment = {"KDREC_ASLEEP_SECONDS": "1", **uri}
        watched = [study_command("asleep.py", file, home, int(prefect), environment) for file in files]
        done: list[dict[str, Any]] = [{} for _ in watched]
        began, cpu_before = time.time(), sum(os.times()[2:4])

        def run(at: int) -> None:
            done[at] = watched[at].run()

        threads = [threading.Thread(target=run, args=(at,)) for at in range(studies)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
    printed = [one["printed"] for one in done]
    for text in printed:
        if told(text) == (-1, -1):
            print(text[-1500:], file=sys.stderr)
    times = trial_times(home)
    logs = "".join(path.read_text(errors="replace") for path in (home / "prefect").glob("*.log"))
    wanted = studies * CELLS * sleeping_study.TRIALS
    return {
        "wanted": wanted,
        "trials": times["trials"],
        "lost": wanted - times["trials"],
        "duplicates": times["runs"] - times["unfinished"] - times["trials"],
        "unfinished": times["unfinished"],
        "failed_studies": sum(one["code"] != 0 for one in done),
        "lock_errors": sum(text.lower().count("database is locked") for text in printed),
        "prefect_lock_errors": logs.lower().count("database is locked"),
        "wall_seconds": time.time() - began,
        "cpu_seconds": sum(os.times()[2:4]) - cpu_before,
        "span_seconds": times["last"] - times["first"],
        "first_trial_seconds": times["first"] - began,
    }


@contextlib.contextmanager
def _store(where: str, home: Path) -> Iterator[dict[str, str]]:
    """Variables that name the store: the home's SQLite file, or an MLflow server in front of it."""
    if where == "home":
        yield {}
        return
    from socket import create_server

    with create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
    command = [sys.executable, "-m", "mlflow", "server", "--host", "127.0.0.1", "--port", str(port), "--workers", "1"]
    command += [
        "--backend-store-uri",
        f"sqlite:///{home / 'mlflow.db'}",
        "--artifacts-destination",
        str(home / "served"),
    ]
    environment = {**os.environ, "MLFLOW_SERVER_ENABLE_JOB_EXECUTION": "false"}
    with (home / "mlflow.log").open("w") as log:
        server = psutil.Popen(command, env=environment, stdout=log, stderr=subprocess.STDOUT)
        try:
            from kdrec.errors import StoreError
            from kdrec.tracking.connect import ask_health

            for _ in range(240):
                with contextlib.suppress(StoreError):
                    ask_health(f"http://127.0.0.1:{port}")
                    break
                time.sleep(0.5)
            yield {"KDREC_TRACKING_URI": f"http://127.0.0.1:{port}"}
        finally:
            family = [server, *server.children(recursive=True)]
            for process in family:
                with contextlib.suppress(psutil.Error):
                    process.terminate()
            psutil.wait_procs(family, timeout=20)


def measure_history(n: int, base: Path) -> dict[str, Any]:
    """A store of `n` trials read at first, again, and with ten new ones; a suggestion; what recording a trial takes."""
    home = base / f"history-{n}"
    if not (home / "filled").exists():
        many_trials.fill(Home.at(new_home(base, home.name)), n)
        (home / "filled").touch()
    per_cell = many_trials.per_cell()
    sample = sorted({0, 1, per_cell - 1, *(n * part // 7 for part in range(1, 7))})
    differences = many_trials.differences(Home.at(home), Home.at(new_home(base, f"apart-{n}")), sample)
    if differences:
        sys.exit("\n".join(differences)[:3000])
    (home / "filled").unlink()  # from here on it has more trials
    found: dict[str, Any] = {"compared": len(sample), "store_bytes": many_trials.folder_bytes(home)}
    for action in ("first", "nothing", "record", "ten", "suggest", "filters"):
        used = recipes.in_process(__file__, ["--one", action, str(home), str(n)])
        found |= {f"{action}_{name}": value for name, value in used.items()}
    found["table_bytes"] = (home / "history.sqlite").stat().st_size
    return found


def one(action: str, root: str, n: int) -> None:
    """Inside the measured process."""
    os.environ["KDREC_HOME"] = root
    values: dict[str, Any] = {}
    if action == "record":
        values = _record_ten(Home.at(root), n)
    elif action == "filters":
        values = _with_and_without_the_kind(Home.at(root))
    else:
        from kdrec.cli import main as kdrec

        words = ["suggest", "task-0000", "--student", "small", "--history", "own", "--json"]
        with tempfile.TemporaryFile("w+") as out, contextlib.redirect_stdout(out):
            code = kdrec(words if action == "suggest" else ["history", "sync"])
            out.seek(0)
            said = out.read()
        if code:
            sys.exit(f"{action} ended with {code}")
        if action == "suggest":
            values["n_trials"] = json.loads(said)["evidence"]["n_trials"]
        else:
            values["said"] = " ".join(said.split())
    print(json.dumps({**values, **recipes.usage()}))


def _record_ten(home: Home, n: int) -> dict[str, float]:
    """Ten new trials as a study records them: look-up, start, curves, end."""
    from kdrec.tracking import Store

    store = Store.open(home)
    at = many_trials.cell_for(store, many_trials.trial_at(n), "study-0")
    seconds = []
    for number in range(n, n + 10):
        started = time.process_time()
        trial = many_trials.trial_at(number)
        store.find(trial.fingerprint)
        many_trials.record(store, trial, *at)
        seconds.append(time.process_time() - started)
    return {"trial_cpu_seconds": statistics.median(seconds)}


def _with_and_without_the_kind(home: Home) -> dict[str, float]:
    """CPU seconds of the questions that kdrec asks a store, with the kind of run in the filter and without it."""
    from kdrec.tracking import Store

    ledger = Store.open(home).ledger
    experiments, kind = ledger.experiments(), "tags.`kdrec.kind` = 'trial'"
    since = int(time.time() * 1000) - int((many_trials.HOURS_AGO + 1) * 3_600_000)
    questions = {
        "one_trial": f"tags.`kdrec.fingerprint` = '{'0' * 64}'",
        "last_hour": f"attributes.end_time > {since}",
        "a_page": "",
    }
    found = {}
    for name, question in questions.items():
        for way, text in (("alone", question), ("with_kind", " and ".join(filter(None, (kind, question))))):
            seconds = []
            for _ in range(3):
                started = time.process_time()
                ledger.client.search_runs(experiments, text, max_results=1000)
                seconds.append(time.process_time() - started)
            found[f"{name}_{way}_seconds"] = min(seconds)
    return found


def main() -> None:
    """Measure what is missing, or write the page."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("part", nargs="?", choices=["workers", "cells", "studies", "history", "page"])
    parser.add_argument("--workers", nargs="+", type=int, default=[1, 2, 4])
    parser.add_argument("--repeats", type=int, default=2)
    parser.add_argument("--cells", nargs="+", type=int, default=[50, 100, 200])
    parser.add_argument("--seconds", type=float, default=0.05, help="how long a trial sleeps")
    parser.add_argument("--studies", nargs="+", type=int, default=[1, 10])
    parser.add_argument("--store", nargs="+", default=["home"], choices=["home", "server"])
    parser.add_argument("--bare", action="store_true", help="studies without Prefect, a process each")
    parser.add_argument("--trials", nargs="+", type=int, default=[1000, 10_000, 100_000])
    parser.add_argument("--again", action="store_true", help="measure what was measured before")
    parser.add_argument("--home", type=Path, default=Path(".kdrec") / "benchmark-scale")
    parser.add_argument("--one", nargs=3, help=argparse.SUPPRESS)
    given = parser.parse_args()
    if given.one:
        one(given.one[0], given.one[1], int(given.one[2]))
        return
    if given.part == "page":
        PAGE.write_text(scale_page.page(recipes.read(RESULTS)), encoding="utf-8")
        return
    base = given.home.resolve()
    base.mkdir(parents=True, exist_ok=True)
    wanted: dict[str, list[tuple[dict[str, Any], Any]]] = {
        "workers": [
            ({"workers": n, "repeat": r}, lambda n=n, r=r: measure_workers(n, r, base))
            for r in range(given.repeats)
            for n in given.workers
        ],
        "cells": [
            ({"cells": n, "seconds": given.seconds}, lambda n=n: measure_cells(n, given.seconds, base))
            for n in given.cells
        ],
        "studies": [
            (
                {"studies": n, "store": where, "prefect": not given.bare},
                lambda n=n, where=where: measure_studies(n, where, not given.bare, base),
            )
            for where in given.store
            for n in given.studies
        ],
        "history": [({"trials_in_store": n}, lambda n=n: measure_history(n, base)) for n in given.trials],
    }
    known = recipes.read(RESULTS)
    for key, measure in wanted[given.part]:
        named = {"part": given.part, **key}
        if not given.again and any(named.items() <= record.items() for record in known):
            continue
        with loaded() as about:
            values = measure()
        keep({**named, **about, **values})


if __name__ == "__main__":
    main()
