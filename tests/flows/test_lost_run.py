"""The end of a study is judged by the store; what Prefect lost of it is one sentence."""

from __future__ import annotations

import sys
from pathlib import Path
from types import ModuleType, SimpleNamespace
from typing import Any

import httpx
import pytest
from prefect.exceptions import ObjectNotFound
from running import Running

from flows import command
from kdrec.errors import StoreError
from kdrec.home import Home
from kdrec.tracking import Store

STUDY = 'name = "mini"\ntasks = ["trec"]\nstudents = ["tiny", "small"]\n'
GONE = ObjectNotFound(http_exc=RuntimeError(), help_message="Flow run not found")


@pytest.fixture
def ended(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Any:
    """Exit code of a study whose flow raises, where the store says which students are searched (None: it is away)."""
    (tmp_path / "mini.toml").write_text(STUDY)

    def run(error: Exception, done: tuple[str, ...] | None) -> int:
        def flow(*_: object, **__: object) -> None:
            raise error

        def outcome(study: str) -> Any:
            if done is None:
                raise StoreError("away")
            cells = [SimpleNamespace(task="trec", student=one, done=one in done) for one in ("tiny", "small")]
            return SimpleNamespace(cells=cells)

        made: Any = ModuleType("flows.study")
        made.study = flow
        monkeypatch.setitem(sys.modules, "flows.study", made)
        monkeypatch.setattr(command, "_server", lambda home: None)
        monkeypatch.setattr(command.Store, "open", lambda home: SimpleNamespace(outcome=outcome))
        monkeypatch.setattr(command.signal, "signal", lambda *_: None)
        return command.main([str(tmp_path / "mini.toml"), "--home", str(Home.at(tmp_path / "home").root)])

    return run


@pytest.mark.parametrize("error", [GONE, httpx.ReadTimeout("no answer")], ids=["deleted", "database gone"])
def test_a_study_whose_run_prefect_lost_has_ended_well_where_the_store_holds_all_of_it(
    ended: Any, capsys: pytest.CaptureFixture[str], error: Exception
) -> None:
    assert ended(error, ("tiny", "small")) == 0
    out, err = capsys.readouterr()
    assert "Next:" in out
    assert err.count("\n") == 1
    assert err.startswith("kdrec: Prefect lost the run of this study (")
    assert "the store holds all of it, so nothing has to be run again" in err


@pytest.mark.parametrize("done", [("tiny",), (), None])
def test_a_study_whose_run_prefect_lost_in_the_middle_is_one_sentence_and_goes_on(
    ended: Any, capsys: pytest.CaptureFixture[str], done: tuple[str, ...] | None
) -> None:
    assert ended(GONE, done) == 2
    err = capsys.readouterr().err
    assert err.count("\n") == 1
    assert "(Flow run not found); what was finished is in the store, and the same command goes on from there" in err


def test_a_defect_of_the_work_keeps_its_traceback(ended: Any) -> None:
    with pytest.raises(ZeroDivisionError):
        ended(ZeroDivisionError("ours"), ("tiny", "small"))


@pytest.mark.slow
def test_a_flow_run_deleted_in_the_middle_costs_no_trial_and_no_traceback(mini: Path, home: Home) -> None:
    """With a real study and its own Prefect server."""
    study = Running(str(mini), "--home", str(home.root))
    study.wait_for("labels only: validation")
    (server,) = study.servers()
    (port,) = {at.laddr.port for at in server.net_connections() if at.status == "LISTEN"}
    url = f"http://127.0.0.1:{port}/api"
    for run in httpx.post(f"{url}/flow_runs/filter", json={}).json():
        httpx.delete(f"{url}/flow_runs/{run['id']}").raise_for_status()
    assert study.wait() == 0, study.text
    assert "Traceback" not in study.text
    assert "the store holds all of it, so nothing has to be run again" in study.text
    assert len(Store.open(home).trials()[0]) == 5
