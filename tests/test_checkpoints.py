"""A checkpoint comes back bit for bit, or not at all; an older one outlives a failed write."""

from __future__ import annotations

import subprocess
import sys
import time
from pathlib import Path

import pytest
import torch

from kdrec.checkpoints import Checkpoint
from kdrec.errors import KdrecError


def a_trained_model() -> tuple[torch.nn.Module, torch.optim.Optimizer]:
    torch.manual_seed(0)
    model = torch.nn.Sequential(torch.nn.Linear(3, 2), torch.nn.LayerNorm(2))
    groups = [{"params": [model[0].weight], "weight_decay": 0.1}, {"params": [model[0].bias, *model[1].parameters()]}]
    optimizer = torch.optim.AdamW(groups, lr=0.1 / 3, fused=True)
    for _ in range(3):
        model(torch.randn(4, 3)).square().sum().backward()
        optimizer.step()
        optimizer.zero_grad()
    return model, optimizer


def save(path: Path, **progress: object) -> tuple[torch.nn.Module, torch.optim.Optimizer]:
    model, optimizer = a_trained_model()
    best = {name: tensor + 1 for name, tensor in model.state_dict().items()}
    Checkpoint(path=path).save(
        model=model.state_dict(), best=best, optimizer=optimizer.state_dict(), progress={"step": 3, **progress}
    )
    return model, optimizer


def test_load_is_the_inverse_of_save(tmp_path: Path):
    model, optimizer = save(tmp_path / "c", seconds=0.1, best={"score": 1 / 3})
    draws = torch.rand(3)
    state = Checkpoint(path=tmp_path / "c").load()
    assert state is not None
    assert state.progress == {"step": 3, "seconds": 0.1, "best": {"score": 1 / 3}}
    for name, tensor in model.state_dict().items():
        assert torch.equal(state.model[name], tensor)
        assert torch.equal(state.best[name], tensor + 1)
    assert set(state.model) == set(model.state_dict())
    state.restore_rng()
    assert torch.equal(torch.rand(3), draws)
    saved = optimizer.state_dict()
    _, other = a_trained_model()
    other.load_state_dict(state.optimizer)
    for index, slots in saved["state"].items():
        assert all(torch.equal(other.state_dict()["state"][index][slot], value) for slot, value in slots.items())
    assert [group["lr"] for group in other.param_groups] == [0.1 / 3] * 2
    assert [group["weight_decay"] for group in other.param_groups] == [0.1, 0.01]


def test_an_optimizer_goes_on_from_a_checkpoint_as_if_it_had_not_stopped(tmp_path: Path):
    model, optimizer = save(tmp_path / "c")
    state = Checkpoint(path=tmp_path / "c").load()
    assert state is not None
    twin, twin_optimizer = a_trained_model()
    with torch.no_grad():
        for parameter in twin.parameters():
            parameter.zero_()
    twin.load_state_dict(state.model)
    twin_optimizer.load_state_dict(state.optimizer)
    inputs = torch.randn(4, 3)
    for one, its_optimizer in ((model, optimizer), (twin, twin_optimizer)):
        one(inputs).square().sum().backward()
        its_optimizer.step()
    assert all(torch.equal(a, b) for a, b in zip(model.parameters(), twin.parameters(), strict=True))


def test_nothing_saved_is_nothing_to_resume(tmp_path: Path):
    assert Checkpoint(path=tmp_path / "c").load() is None
    assert Checkpoint.none().load() is None
    assert not Checkpoint.none().due()
    Checkpoint.none().clear()


def test_a_checkpoint_is_due_when_enough_was_done(tmp_path: Path):
    checkpoint = Checkpoint(path=tmp_path / "c", every_seconds=0.05)
    assert not checkpoint.due()
    time.sleep(0.06)
    assert checkpoint.due()
    assert Checkpoint(path=tmp_path / "c", every_seconds=0).due()


def test_any_flipped_bit_of_the_header_and_any_byte_of_the_content_is_detected(tmp_path: Path):
    path = tmp_path / "c"
    save(path)
    whole = path.read_bytes()
    undamaged = Checkpoint(path=path).load()
    assert undamaged is not None
    header = 8 + int.from_bytes(whole[:8], "little")
    places = [(at, 1 << bit) for at in range(header) for bit in (0, 5)]
    places += [(at, 0x10) for at in range(header, len(whole), 11)]
    survived = 0
    for at, bits in places:
        damaged = bytearray(whole)
        damaged[at] ^= bits
        path.write_bytes(damaged)
        state = Checkpoint(path=path).load()
        if state is None:
            assert not path.exists(), "a damaged checkpoint is removed, so that it is not read again"
            continue
        survived += 1
        assert all(torch.equal(state.model[name], tensor) for name, tensor in undamaged.model.items())
        assert state.progress == undamaged.progress
        assert state.optimizer["param_groups"] == undamaged.optimizer["param_groups"]
    assert survived < len(places) / 100


def test_a_truncated_or_foreign_file_is_no_checkpoint(tmp_path: Path):
    path = tmp_path / "c"
    save(path)
    whole = path.read_bytes()
    for length in (0, 1, 8, 100, len(whole) // 2, len(whole) - 1):
        path.write_bytes(whole[:length])
        assert Checkpoint(path=path).load() is None
    from safetensors.torch import save_file

    save_file({"x": torch.zeros(3)}, path)
    assert Checkpoint(path=path).load() is None


FULL_DISK = """
import resource, signal, sys
from pathlib import Path
import torch
from kdrec.checkpoints import Checkpoint
from kdrec.errors import KdrecError
signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
resource.setrlimit(resource.RLIMIT_FSIZE, (4096, 4096))
try:
    Checkpoint(path=Path(sys.argv[1])).save(
        model={"w": torch.zeros(5000)}, best={}, optimizer={"state": {}, "param_groups": []}, progress={}
    )
except KdrecError as error:
    sys.exit(f"sentence: {error}")
"""


def test_a_full_disk_leaves_the_older_checkpoint_whole_and_is_one_sentence(tmp_path: Path):
    path = tmp_path / "c"
    save(path)
    before = path.read_bytes()
    done = subprocess.run([sys.executable, "-c", FULL_DISK, str(path)], capture_output=True, text=True, check=False)
    assert done.stderr.startswith("sentence: cannot write")
    assert "free some space" in done.stderr
    assert len(done.stderr.strip().splitlines()) == 1
    assert path.read_bytes() == before
    assert [p.name for p in tmp_path.iterdir()] == ["c"]


def test_a_folder_that_is_gone_is_one_sentence(tmp_path: Path):
    with pytest.raises(KdrecError, match="cannot write"):
        save(tmp_path / "gone" / "c")
