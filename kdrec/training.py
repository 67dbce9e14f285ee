"""How students and teachers are trained: what a study asks for, and what one run then does.

`Training` is one run, all of its numbers known: it is part of every fingerprint. `StudentTraining` and
`TeacherTraining` are what a study says; what they leave out (`training = "auto"`) is found by measuring, by the pure
functions of `kdrec.autotune` on recorded runs.
"""

from __future__ import annotations

from dataclasses import asdict, dataclass, fields
from typing import Any, Final

from kdrec.checks import as_floats, count, number
from kdrec.errors import BadArgument

IDENTITY_VERSION: Final = 1
"""Version of what a trained model depends on; part of every hash that finds one. It is not the version of how trials
are written: a trial of an older store is found again, whatever columns came since."""

AUTO: Final = "auto"
"""What a study file says in the place of a table whose numbers are all to be found by measuring."""


@dataclass(frozen=True, kw_only=True)
class Training:
    """What is not a knob: how one student is optimised. Weight decay never touches embeddings, biases, LayerNorm."""

    learning_rate: float = 6e-4
    epochs: int = 4
    batch_size: int = 32
    max_length: int = 128
    seed: int = 0
    warmup_ratio: float = 0.1
    weight_decay: float = 0.01
    max_grad_norm: float = 1.0
    gradient_accumulation_steps: int = 1
    evaluations_per_epoch: int = 1
    n_steps: int | None = None
    """Optimizer steps, in place of `epochs`; with `patience`, the most there are."""
    evaluate_every: int | None = None
    """Optimizer steps between evaluations, in place of `evaluations_per_epoch`; the last step is always evaluated."""
    patience: int | None = None
    """Evaluations without a better score or loss after which a run of unknown length cools down (`kdrec.schedule`)."""
    transfer_weight: float = 1.0
    """Weight of the loss of a unit without a label, beside labelled ones."""

    def __post_init__(self) -> None:
        number("learning_rate", self.learning_rate, 0, open_low=True)
        for name in ("n_steps", "evaluate_every", "patience"):
            if getattr(self, name) is not None:
                count(name, getattr(self, name))
        if self.patience is not None and (self.n_steps is None or self.evaluate_every is None):
            raise BadArgument("patience needs n_steps, the most there are, and evaluate_every, what it counts")
        for name in ("epochs", "batch_size", "gradient_accumulation_steps", "evaluations_per_epoch"):
            count(name, getattr(self, name))
        count("max_length", self.max_length, 8)
        count("seed", self.seed, 0)
        number("warmup_ratio", self.warmup_ratio, 0, 1)
        number("weight_decay", self.weight_decay, 0)
        number("max_grad_norm", self.max_grad_norm, 0, open_low=True)
        number("transfer_weight", self.transfer_weight, 0, open_low=True)
        as_floats(self, "learning_rate", "warmup_ratio", "weight_decay", "max_grad_norm", "transfer_weight")
        if self.batch_size % self.gradient_accumulation_steps:
            raise BadArgument(
                "batch_size counts the examples of one optimizer step, so it must be a multiple of "
                f"gradient_accumulation_steps; got {self.batch_size} and {self.gradient_accumulation_steps}"
            )


@dataclass(frozen=True, kw_only=True)
class StudentTraining:
    """How a study wants its students trained: numbers that are given are used, None is found by a calibration.

    The length may be given as `epochs` or as `n_steps`. Everything else is as in `Training`.
    """

    learning_rate: float | None = None
    epochs: int | None = None
    n_steps: int | None = None
    batch_size: int = 32
    max_length: int = 128
    warmup_ratio: float = 0.1
    weight_decay: float = 0.01
    max_grad_norm: float = 1.0
    gradient_accumulation_steps: int = 1
    evaluations_per_epoch: int = 1
    evaluate_every: int | None = None
    transfer_weight: float = 1.0

    def __post_init__(self) -> None:
        if self.epochs is not None and self.n_steps is not None:
            raise BadArgument(
                f"the length of a training is given in epochs or in n_steps, got both ({self.epochs}, {self.n_steps})"
            )
        as_given = self.resolved(learning_rate=1.0)  # checks itself
        for name in ("warmup_ratio", "weight_decay", "max_grad_norm", "transfer_weight"):
            object.__setattr__(self, name, getattr(as_given, name))
        if self.learning_rate is not None:
            object.__setattr__(self, "learning_rate", as_given.learning_rate)

    @property
    def is_auto(self) -> bool:
        """Whether something is left to be found by measuring."""
        return self.learning_rate is None or not self.has_length

    @property
    def has_length(self) -> bool:
        """Whether its length is given."""
        return self.epochs is not None or self.n_steps is not None

    def resolved(
        self,
        *,
        seed: int = 0,
        learning_rate: float | None = None,
        n_steps: int | None = None,
        evaluate_every: int | None = None,
        epochs: int | None = None,
    ) -> Training:
        """One run of it: what is given stays, what is not is taken from the arguments."""
        given = {key: value for key, value in asdict(self).items() if value is not None}
        found = {"learning_rate": learning_rate, "evaluate_every": evaluate_every}
        if not self.has_length:
            found |= {"n_steps": n_steps, "epochs": epochs}
        return Training(**{**{key: value for key, value in found.items() if value is not None}, **given, "seed": seed})


@dataclass(frozen=True, kw_only=True)
class Budget:
    """What the search for a training may cost: most optimizer steps of a run, most minutes of a teacher or a cell."""

    max_steps: int | None = None
    minutes: float | None = None

    def __post_init__(self) -> None:
        if self.max_steps is not None:
            count("max_steps", self.max_steps)
        if self.minutes is not None:
            number("minutes", self.minutes, 0, open_low=True)
            as_floats(self, "minutes")


@dataclass(frozen=True, kw_only=True)
class TeacherTraining:
    """Fine-tuning runs of a task's teacher: learning rates x seeds, each evaluated several times an epoch.

    Without `learning_rates`, a short ladder that is widened where the best lies at its end; without `epochs`, each run
    goes on until it stops improving (`patience` evaluations), `max_steps` at most.
    """

    learning_rates: tuple[float, ...] | None = None
    seeds: tuple[int, ...] = (0,)
    epochs: int | None = None
    batch_size: int = 32
    max_length: int = 128
    evaluations_per_epoch: int = 2
    patience: int | None = None
    max_steps: int | None = None
    minutes: float | None = None

    def __post_init__(self) -> None:
        self.budget  # noqa: B018 - checks itself
        for name in ("patience", "max_steps"):
            if getattr(self, name) is not None:
                count(name, getattr(self, name))
                if self.epochs is not None:
                    raise BadArgument(f"{name} is of a teacher that trains until it stops improving: leave epochs out")
        for rate in (1.0,) if self.learning_rates is None else self.learning_rates:
            for seed in self.seeds:
                self.run(rate, seed)  # checks itself
        for name in ("learning_rates", "seeds"):
            values = getattr(self, name)
            if values is not None and (not values or len(set(values)) != len(values)):
                raise BadArgument(f"{name} of a teacher must be distinct, at least one, got {list(values)}")
        if self.learning_rates is not None:
            object.__setattr__(self, "learning_rates", tuple(float(rate) for rate in self.learning_rates))

    @property
    def budget(self) -> Budget:
        """What the search for its training may cost."""
        return Budget(max_steps=self.max_steps, minutes=self.minutes)

    @property
    def is_auto(self) -> bool:
        """Whether its rates or its length are to be found by measuring."""
        return self.learning_rates is None or self.epochs is None

    def run(self, learning_rate: float, seed: int) -> Training:
        """One fine-tuning run of known length; of a teacher without `epochs`, all that is known without its rows."""
        return Training(
            learning_rate=learning_rate,
            seed=seed,
            batch_size=self.batch_size,
            max_length=self.max_length,
            evaluations_per_epoch=self.evaluations_per_epoch,
            **({} if self.epochs is None else {"epochs": self.epochs}),
        )


_FIRST_FIELDS: Final = frozenset(
    (
        *("learning_rate", "epochs", "batch_size", "max_length", "seed", "warmup_ratio", "weight_decay"),
        *("max_grad_norm", "gradient_accumulation_steps", "evaluations_per_epoch"),
        *("learning_rates", "seeds"),
    )
)
"""What trainings said at version 1 of an identity."""


def identity_of(training: Training | TeacherTraining) -> dict[str, Any]:
    """A training as a hash spells it: fields that came later count only where they are not at their default.

    A default means what was done before the field was there, so trials and teachers of before keep their hashes. The
    weight of rows without labels is left out: it is part of what a trial learns from them, where it does
    (`kdrec.trial.fingerprint`).
    """
    later = {f.name: f.default for f in fields(training) if f.name not in _FIRST_FIELDS}
    values = {name: value for name, value in asdict(training).items() if name != "transfer_weight"}
    return {name: value for name, value in values.items() if name not in later or value != later[name]}
