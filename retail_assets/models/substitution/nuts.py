"""No-U-turn sampling of a small category: the reference when a Gaussian will not do.

Draws come in chunks of fixed length, so that one compiled function serves every
imputation of a category: its data are arguments, and the step size found at the
first imputation is carried to the others.
"""

from __future__ import annotations

from functools import partial
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from numpy.typing import NDArray
from tensorflow_probability.substrates import jax as tfp

from retail_assets.models.substitution.density import Block, log_posterior
from retail_assets.models.substitution.laplace import Gaussian

CHAINS = 4
CHUNK = 25
ADAPT_CHUNKS = 5


class Adaptation(NamedTuple):
    """What dual averaging has learnt about the step size (Hoffman and Gelman 2014)."""

    step_size: jax.Array
    error_sum: jax.Array
    log_averaging_step: jax.Array
    step: jax.Array


class Chains:
    """Four chains that can be handed new data between chunks.

    Parameters
    ----------
    shape : Gaussian
        Laplace or variational fit: chains walk in the coordinates in which it is a
        standard normal, and start from draws of it.
    markov : bool
    seed : int

    Attributes
    ----------
    theta : (4, D) float64
        Where the chains stand, in the unconstrained space.
    """

    def __init__(self, shape: Gaussian, markov: bool, *, seed: int) -> None:
        self.markov = markov
        self._key = jax.random.PRNGKey(seed)
        rng = np.random.default_rng(seed)
        self.theta = shape.loc + 0.5 * (shape.sample(CHAINS, rng) - shape.loc)
        self._adaptation: Adaptation | None = None

    def run(self, shape: Gaussian, data: Block, n_chunks: int) -> NDArray[np.float64]:
        """(25 n_chunks, 4, D) draws under ``data``, from where the chains stand.

        The first call finds the step size in 125 further steps that are thrown away.
        """
        if self._adaptation is None:
            self._adaptation = _untrained()
            for _ in range(ADAPT_CHUNKS):
                self._chunk(shape, data)
            self._adaptation = _settled(self._adaptation)
        return np.concatenate([self._chunk(shape, data) for _ in range(n_chunks)])

    def _chunk(self, shape: Gaussian, data: Block) -> NDArray[np.float64]:
        self._key, key = jax.random.split(self._key)
        white = np.linalg.solve(shape.scale, (self.theta - shape.loc).T).T
        states, self._adaptation = _run(
            key, white, self._adaptation, shape.loc, shape.scale, data, self.markov
        )
        theta: NDArray[np.float64] = shape.loc + np.asarray(states) @ shape.scale.T
        self.theta = theta[-1]
        return theta


def _untrained() -> Adaptation:
    zero = jnp.zeros(())
    return Adaptation(jnp.asarray(0.4), zero, zero, jnp.asarray(0, jnp.int32))


def _settled(found: Adaptation) -> Adaptation:
    """The averaged step size, with adaptation over."""
    return found._replace(
        step_size=jnp.exp(found.log_averaging_step),
        step=jnp.asarray(ADAPT_CHUNKS * CHUNK, jnp.int32),
    )


@partial(jax.jit, static_argnames="markov")
def _run(
    key: jax.Array,
    white: jax.Array,
    carried: Adaptation,
    loc: jax.Array,
    scale: jax.Array,
    data: Block,
    markov: bool,
) -> tuple[jax.Array, Adaptation]:
    def target(point: jax.Array) -> jax.Array:
        return log_posterior(loc + scale @ point, data, markov)

    kernel = tfp.mcmc.DualAveragingStepSizeAdaptation(
        tfp.mcmc.NoUTurnSampler(jax.vmap(target), step_size=0.4, max_tree_depth=6),
        num_adaptation_steps=ADAPT_CHUNKS * CHUNK,
        target_accept_prob=0.8,
    )
    fresh = kernel.bootstrap_results(white)
    results = fresh._replace(
        inner_results=fresh.inner_results._replace(step_size=carried.step_size),
        new_step_size=carried.step_size,
        error_sum=[carried.error_sum],
        log_averaging_step=[carried.log_averaging_step],
        step=carried.step,
    )

    def advance(carry: Any, step_key: jax.Array) -> Any:
        state, previous = carry
        state, found = kernel.one_step(state, previous, seed=step_key)
        return (state, found), state

    (_, last), states = jax.lax.scan(advance, (white, results), jax.random.split(key, CHUNK))
    return states, Adaptation(
        last.new_step_size, last.error_sum[0], last.log_averaging_step[0], last.step
    )


def potential_scale_reduction(
    draws: NDArray[np.float64], *, split: bool = True
) -> NDArray[np.float64]:
    """(D,) R̂ of draws (N, chains, D) (Gelman et al. 2013, equation 11.4).

    ``split`` also compares each chain's halves. It is left out over several
    imputations: the halves then see other paths, and ought to differ.
    """
    half = len(draws) // 2
    parts = np.concatenate([draws[:half], draws[half : 2 * half]], axis=1) if split else draws
    length = len(parts)
    within = parts.var(axis=0, ddof=1).mean(axis=0)
    between = parts.mean(axis=0).var(axis=0, ddof=1)
    rhat: NDArray[np.float64] = np.sqrt(
        (length - 1) / length + between / np.maximum(within, 1e-300)
    )
    return rhat


def effective_sample_size(draws: NDArray[np.float64]) -> NDArray[np.float64]:
    """(D,) effective sample size over all chains (TensorFlow Probability's estimate)."""
    several = draws.shape[1] > 1
    size = tfp.mcmc.effective_sample_size(
        jnp.asarray(draws if several else draws[:, 0]),
        filter_beyond_positive_pairs=True,
        cross_chain_dims=1 if several else None,
    )
    return np.asarray(size)
