"""The same model in a general sampler: how far our Laplace draws are from NUTS on three histories.

    pip install numpyro; python benchmarks/posterior.py

Written from the formulas of docs/recommender.md, in JAX, sharing nothing with the recommender's algebra but the kernels
and features that say what the model is. Scales, knob weights, noise and every task's factor (the asked one's too) are
sampled by four chains; the asked cell's effects are then conditioned exactly. A task that goes its own way, which mixes
over a finite choice, is switched off on both sides. Writes benchmarks/results/posterior.json.
"""

from __future__ import annotations

import json
import platform
import subprocess
import sys
import time
from pathlib import Path

import jax
import jax.numpy as jnp
import numpy as np
import numpyro
import numpyro.distributions as dist
from numpyro.infer import MCMC, NUTS

from kdrec.recommend.belief import believe
from kdrec.recommend.model import fit, laplace_draws, problem
from kdrec.recommend.simulate import greedy_history, make_world
from kdrec.recommend.table import tabulate
from kdrec.types import History

jax.config.update("jax_enable_x64", True)
numpyro.set_host_device_count(4)

LEVELS = jnp.array([0.08, 0.07, 0.08, 0.07, 0.055, 0.045])
FOLLOWS = np.array([1 - 2e-12, 1e-12, 1e-12])
HISTORIES = {
    "one task, default space": ("one task in history", 3, 1, ("small", "tiny"), 0),
    "four tasks, one size, two own trials": ("effects depend on size", 5, 4, ("small",), 2),
    "six tasks of different scale": ("tasks of different scale", 7, 6, ("small",), 0),
}


def sampled(p):
    """Log joint of the parameters and the scores, as numpyro sites."""
    n_mains = p.knobs.powers_FP.shape[1] - 2

    def sites():
        log_ratio = numpyro.sample("log_s", dist.ImproperUniform(dist.constraints.real, (), (6,)))
        ratio = jnp.exp(log_ratio)
        # a half-t density of s, times ds / dlog s
        numpyro.factor("half_t", jnp.sum(-2.0 * jnp.log1p(ratio**2 / 3.0) + log_ratio))
        w = numpyro.sample("w", dist.Normal(0.0, 0.4).expand([n_mains]))
        pair = numpyro.sample("pair", dist.Normal(jnp.log(0.6), 0.4))
        own = numpyro.sample("own", dist.Normal(jnp.log(0.35), 0.4))
        noise = numpyro.sample("noise", dist.Normal(0.0, p.noise_doubt))
        t = numpyro.sample("t", dist.Normal(jnp.log(0.3), 0.4))
        z = numpyro.sample("z", dist.Normal(0.0, 1.0).expand([p.n_tasks]))
        mean, cov = scores(p, ratio * LEVELS, jnp.concatenate([w, jnp.stack([pair, own])]), noise, t, z)
        numpyro.sample("y", dist.MultivariateNormal(mean, cov), obs=p.y_R)

    return sites


def effects_cov(p, s, w, t, z, cell_A, config_A, cell_B, config_B):
    """Covariance of a[task] d between two lists of (cell, configuration)."""
    share = jnp.einsum("k,kab->ab", s**2, p.kernels_KDD[:, cell_A][:, :, cell_B])
    features = p.knobs.features_CF
    alike = (features[config_A] * jnp.exp(2 * p.knobs.powers_FP @ w)) @ features[config_B].T
    a = jnp.exp(jnp.exp(t) * z)
    return a[p.task_D[cell_A]][:, None] * share * alike * a[p.task_D[cell_B]][None, :]


def departures_cov(p, config_A, config_B):
    """Covariance that the doubt about b, the common effect of a departure, gives to all scores."""
    departures = p.expected_C / -0.12
    return 0.08**2 * departures[config_A][:, None] * departures[config_B][None, :]


def scores(p, s, w, noise, t, z):
    """Mean and covariance of the observed scores."""
    cov = effects_cov(p, s, w, t, z, p.cell_R, p.config_R, p.cell_R, p.config_R)
    cov = cov + 30.0**2 * (p.cell_R[:, None] == p.cell_R[None, :])
    cov = cov + departures_cov(p, p.config_R, p.config_R)
    return jnp.zeros(len(p.y_R)), cov + jnp.diag(p.variance_R * jnp.exp(2 * noise))


def asked_effects(p, draw):
    """Mean and covariance of the asked cell's effects over the default under one draw."""
    s, w = jnp.exp(draw["log_s"]) * LEVELS, jnp.concatenate([draw["w"], jnp.stack([draw["pair"], draw["own"]])])
    n = len(p.expected_C)
    cell, config = np.full(n, p.asked), np.arange(n)
    _, cov = scores(p, s, w, draw["noise"], draw["t"], draw["z"])
    cross = effects_cov(p, s, w, draw["t"], draw["z"], cell, config, p.cell_R, p.config_R)
    prior = effects_cov(p, s, w, draw["t"], draw["z"], cell, config, cell, config)
    cross = cross + departures_cov(p, config, p.config_R)
    prior = prior + departures_cov(p, config, config)
    gain = jnp.linalg.solve(cov, cross.T).T
    return p.expected_C + gain @ p.y_R, prior - gain @ cross.T


def compare(name: str, n_samples: int = 500) -> dict:
    """Effects' means and standard deviations on both sides; differences in units of the sampler's deviation."""
    situation, seed, n_tasks, students, n_own = HISTORIES[name]
    world = make_world(situation, seed, n_tasks=max(n_tasks + 1, 2))
    rng = np.random.default_rng(seed)
    asked, *others = list(world.features)
    past = greedy_history(world, others[:n_tasks], rng, students=students).trials
    own = tuple(world.run(asked, "small", world.configs[i * 5], 0, rng) for i in range(n_own))
    table = tabulate(History((*past, *own)), world.asked(asked, "small"), "small", None)
    p = problem(table)
    ours, seconds = [], []
    for number in range(8):
        started = time.process_time()
        draws = laplace_draws(fit(p), p, np.random.default_rng(number))
        mean_C, cov_CC = believe(draws, p, 0.5, FOLLOWS).moments()
        seconds.append(time.process_time() - started)
        difference = np.eye(len(mean_C))
        difference[:, 0] -= 1
        ours.append((difference @ mean_C, np.sqrt(np.diagonal(difference @ cov_CC @ difference.T))))
    started = time.process_time()
    mcmc = MCMC(NUTS(sampled(p)), num_warmup=400, num_samples=n_samples, num_chains=4, progress_bar=False)
    mcmc.run(jax.random.key(0))
    nuts_seconds = time.process_time() - started
    kept = mcmc.get_samples()
    summary = numpyro.diagnostics.summary(mcmc.get_samples(group_by_chain=True), group_by_chain=True)
    r_hat = max(float(np.max(site["r_hat"])) for site in summary.values())
    means, covs = jax.lax.map(lambda draw: asked_effects(p, draw), kept)
    means, covs = np.asarray(means), np.asarray(covs)
    mean_C = means.mean(axis=0)
    sd_C = np.sqrt(np.diagonal(covs, axis1=1, axis2=2).mean(axis=0) + means.var(axis=0))
    our_mean_C, our_sd_C = (np.mean([draw[i] for draw in ours], axis=0) for i in (0, 1))
    apart_C = np.abs(our_mean_C - mean_C)[1:] / sd_C[1:]
    ratio_C = our_sd_C[1:] / sd_C[1:]
    return {
        "history": name,
        "n_rows": len(p.y_R),
        "n_effects": len(apart_C),
        "r_hat": round(r_hat, 3),
        "mean_apart_in_sd": {"mean": round(float(apart_C.mean()), 3), "max": round(float(apart_C.max()), 3)},
        "sd_ratio": {"mean": round(float(ratio_C.mean()), 3), "min": round(float(ratio_C.min()), 3)}
        | {"max": round(float(ratio_C.max()), 3)},
        "spread_over_our_seeds_in_sd": round(
            float(np.mean(np.std([draw[0][1:] for draw in ours], axis=0) / sd_C[1:])), 3
        ),
        "seconds": {"ours": round(float(np.mean(seconds)), 2), "nuts": round(nuts_seconds, 1)},
    }


def main() -> None:
    """Compare on the histories named (all by default) and write the results."""
    commit = subprocess.run(["git", "rev-parse", "HEAD"], capture_output=True, text=True, check=True).stdout.strip()
    results = {
        "commit": commit,
        "machine": f"{platform.machine()}, CPU",
        "numpyro": numpyro.__version__,
        "histories": [],
    }
    for name in sys.argv[1:] or HISTORIES:
        results["histories"].append(compare(name))
        print(json.dumps(results["histories"][-1], indent=1), flush=True)
    target = Path(__file__).parent / "results" / "posterior.json"
    target.write_text(json.dumps(results, indent=1) + "\n")


if __name__ == "__main__":
    main()
