"""Full-rank Gaussian variational inference, and the test of whether to believe it.

Mean-field intervals are over-confident here (λ coverage 86 %, full rank 94 %): the
rates trade off against each other along ridges that a diagonal cannot follow.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import partial
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from tensorflow_probability.substrates import jax as tfp

from retail_assets.models.substitution.density import Block, log_posterior, log_posteriors
from retail_assets.models.substitution.khat import pareto_khat
from retail_assets.models.substitution.laplace import Gaussian

tfd: Any = tfp.distributions

STEPS = 400
SAMPLES = 16
GATE = 0.5
"""k̂ above this sends a small block to NUTS. Vehtari et al. (2024) trust k̂ < .7, but
between .5 and .7 the Gaussian's sd of α was 20 % short of NUTS (preset markov_chain)."""


@dataclass(frozen=True)
class VariationalFit:
    """A full-rank Gaussian fitted to the posterior.

    Parameters
    ----------
    gaussian : Gaussian
    elbo : float
        Evidence lower bound, without the constant Σ log C!.
    khat : float
        Pareto shape of the importance ratios posterior / approximation.
    """

    gaussian: Gaussian
    elbo: float
    khat: float


def fit_variational(
    start: Gaussian, data: Block, markov: bool, *, seed: int, n_ratios: int = 2000
) -> VariationalFit:
    """Maximise the evidence lower bound from a Laplace approximation.

    Works in the coordinates in which the start is a standard normal, so that one
    learning rate suits every parameter.

    Parameters
    ----------
    start : Gaussian
    seed : int
    n_ratios : int
        Importance ratios behind k̂ and the reported bound.
    """
    key = jax.random.PRNGKey(seed)
    shift, factor = _ascend(key, jnp.asarray(start.loc), jnp.asarray(start.scale), data, markov)
    scale = start.scale @ np.asarray(factor)
    scale *= np.sign(np.diag(scale))
    loc = start.loc + start.scale @ np.asarray(shift)
    fitted = Gaussian(loc, scale, float(log_posteriors(loc[None], data, markov)[0]))
    draws = fitted.sample(n_ratios, np.random.default_rng(seed))
    log_ratio = np.asarray(log_posteriors(draws, data, markov)) - fitted.log_density(draws)
    return VariationalFit(fitted, float(log_ratio.mean()), pareto_khat(log_ratio))


@partial(jax.jit, static_argnames="markov")
def _ascend(
    key: jax.Array, loc: jax.Array, scale: jax.Array, data: Block, markov: bool
) -> tuple[jax.Array, jax.Array]:
    """Adam on shift and triangular factor, with a cosine schedule."""
    dim = loc.shape[0]
    lower = jnp.tril(jnp.ones((dim, dim)), -1)
    density: Any = jax.vmap(lambda z: log_posterior(loc + scale @ z, data, markov))

    def build(params: tuple[jax.Array, jax.Array, jax.Array]) -> tuple[jax.Array, jax.Array]:
        shift, log_diag, below = params
        factor: jax.Array = jnp.diag(jnp.exp(log_diag)) + below * lower
        return shift, factor

    def loss(params: tuple[jax.Array, jax.Array, jax.Array], step_key: jax.Array) -> jax.Array:
        shift, factor = build(params)
        surrogate = tfd.MultivariateNormalTriL(shift, factor)
        half = surrogate.sample(SAMPLES // 2, seed=step_key)
        # Antithetic pairs cancel the odd terms of the noise.
        both = jnp.concatenate([half, 2.0 * shift - half])
        bound: Any = jnp.mean(density(both)) + surrogate.entropy()
        return -bound  # type: ignore[no-any-return]

    def step(carry: Any, inputs: Any) -> Any:
        params, first, second = carry
        step_key, count = inputs
        slope = jax.grad(loss)(params, step_key)
        rate = 0.01 * (1.0 + jnp.cos(jnp.pi * count / STEPS)) + 1e-4
        first = jax.tree.map(lambda m, g: 0.9 * m + 0.1 * g, first, slope)
        second = jax.tree.map(lambda v, g: 0.99 * v + 0.01 * g**2, second, slope)
        scale_first, scale_second = 1.0 - 0.9**count, 1.0 - 0.99**count

        def move(p: jax.Array, m: jax.Array, v: jax.Array) -> jax.Array:
            moved: jax.Array = p - rate * (m / scale_first) / (jnp.sqrt(v / scale_second) + 1e-8)
            return moved

        return (jax.tree.map(move, params, first, second), first, second), None

    initial = (jnp.zeros(dim), jnp.zeros(dim), jnp.zeros((dim, dim)))
    zeros = jax.tree.map(jnp.zeros_like, initial)
    inputs = (jax.random.split(key, STEPS), jnp.arange(1.0, STEPS + 1.0))
    (last, _, _), _ = jax.lax.scan(step, (initial, zeros, zeros), inputs)
    return build(last)
