"""Step 2 end to end: from who was out (with its uncertainty) to draws of the rates.

A single status path, however good, makes intervals too short: they cover .74-.91
where .95 is promised. So the fit is repeated over whole sampled paths. Given M paths
per store that is multiple imputation; given a sampler it is data augmentation
(paths | rates, rates | paths, ...), where errors of the two steps inform each other.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from retail_assets.models.panel import ChoiceModel, Panel, Rates, Spans
from retail_assets.models.substitution import density
from retail_assets.models.substitution.choice import FOLDS, ModelChoice, choose_model
from retail_assets.models.substitution.diagnostics import (
    Diagnostics,
    Engine,
    pearson_dispersion,
    precision_of,
    predictive_check,
)
from retail_assets.models.substitution.em import fit_em
from retail_assets.models.substitution.khat import pareto_khat
from retail_assets.models.substitution.laplace import Gaussian, fit_laplace
from retail_assets.models.substitution.nuts import (
    CHAINS,
    CHUNK,
    Chains,
    effective_sample_size,
    potential_scale_reduction,
)
from retail_assets.models.substitution.patterns import (
    MAX_PRODUCTS,
    PatternStatistics,
    availability_statistics,
)
from retail_assets.models.substitution.priors import Priors
from retail_assets.models.substitution.result import SubstitutionPosterior
from retail_assets.models.substitution.variational import GATE, fit_variational

PathSampler = Callable[[np.random.Generator, Rates | None], Sequence[Spans]]
"""Draws one path per store given the data and the rates (None: its own estimate)."""
LevelSampler = Callable[
    [np.random.Generator, Sequence[Spans], Rates], Sequence[NDArray[np.float64]]
]
"""Draws the demand level of each store's intervals given paths and rates."""

N_IMPUTATIONS = 20
SETTLING = 3  # sweeps of data augmentation thrown away; it starts at the joint EM's estimate
MIN_CHUNKS = 30  # of NUTS: 30 x 25 x 4 = 3,000 draws, more until R̂ < 1.01
MAX_PASSES = 6
WALK_OVER = 5
MAX_RHAT = 1.01
# R̂ compares chains, which walk over the same paths: it cannot see paths that mix slowly
# (demo's pralines: R̂ 1.002 with 46 effective draws).
MIN_ESS = 100.0


def fit_posterior(
    panel: Panel,
    sampled_out: Sequence[Sequence[Spans]] | PathSampler,
    weight: Sequence[NDArray[np.float64]],
    *,
    priors: Priors | None = None,
    seed: int,
    n_draws: int = 1000,
    choice_model: ChoiceModel | None = None,
    n_imputations: int = N_IMPUTATIONS,
    redraw_level: LevelSampler | None = None,
) -> SubstitutionPosterior:
    """Posterior of demand and substitution rates from sampled status paths.

    Parameters
    ----------
    panel : Panel
    sampled_out : M sequences of one Spans per store, or a sampler
        One sequence is a known status. A sampler is called ``n_imputations`` times,
        with the latest draw of the rates.
    weight : one (T,) array per store
        Seasonal profile x footfall.
    redraw_level : LevelSampler, optional
        Draws the weights anew for every imputation, where they are an estimate
        (`levels.LevelDraws`). Not used beyond 15 products.
    priors : Priors, optional
    seed : int
    n_draws : int
        Draws kept, spread evenly over imputations and chains.
    choice_model : {"one_step", "markov_chain"}, optional
        Default: chosen on held-out days; where they cannot tell, ``alternative`` holds
        the fit under the other.

    Raises
    ------
    ValueError
        No path, or a category too large for full patterns (see ``sparse``).
    """
    began = time.perf_counter()
    if panel.n_products > MAX_PRODUCTS:
        from retail_assets.models.substitution.large import fit_large

        return fit_large(panel, sampled_out, weight, priors=priors, seed=seed, n_draws=n_draws)
    priors = priors or Priors.default(panel.n_products)
    rng = np.random.default_rng(seed)
    source = _Paths(panel, sampled_out, weight, rng, n_imputations, redraw_level)
    choice, dispersion = _look_ahead(source, priors, choice_model)
    chosen = choice_model or choice.choice_model
    found = _sample(source, chosen, priors, dispersion, seed)

    def result(sampled: _Sampled) -> SubstitutionPosterior:
        return _posterior(panel, sampled, priors, choice, dispersion, n_draws, began, rng)

    fit = result(found)
    if choice_model is not None or choice.resolved or choice.standard_error == 0.0:
        return fit
    other: ChoiceModel = "one_step" if chosen == "markov_chain" else "markov_chain"
    second = _sample_gaussian(found.statistics, other, priors, dispersion, seed)
    return replace(fit, alternative=result(second))


class _Paths:
    """Statistics of one imputation after another, from either kind of source."""

    def __init__(
        self,
        panel: Panel,
        sampled_out: Sequence[Sequence[Spans]] | PathSampler,
        weight: Sequence[NDArray[np.float64]],
        rng: np.random.Generator,
        n_imputations: int,
        redraw_level: LevelSampler | None = None,
    ) -> None:
        self.augments = callable(sampled_out)
        self.count = n_imputations if callable(sampled_out) else len(sampled_out)
        if self.count == 0:
            raise ValueError("no sampled status path: pass at least one, or a sampler")
        self._panel, self._sampled, self._weight, self._rng = panel, sampled_out, weight, rng
        self._redraw = redraw_level

    def statistics(self, index: int, rates: Rates | None, folds: int = 1) -> PatternStatistics:
        sampled = self._sampled
        out = sampled(self._rng, rates) if callable(sampled) else sampled[index % self.count]
        if self._redraw is not None and rates is not None:
            self._weight = self._redraw(self._rng, out, rates)
        return availability_statistics(
            self._panel,
            out,
            self._weight,
            arrival_rate=None if rates is None else rates.arrival_rate,
            folds=folds,
        )


@dataclass(frozen=True)
class _Sampled:
    """Draws of theta of one choice model, with what is needed to judge them."""

    model: ChoiceModel
    engine: Engine
    theta: NDArray[np.float64]  # (N, chains, D)
    elbo: float
    khat: float
    statistics: list[PatternStatistics]  # one per kept imputation
    exceeds: NDArray[np.float64]
    n_imputations: int


def _look_ahead(
    source: _Paths, priors: Priors, forced: ChoiceModel | None
) -> tuple[ModelChoice, NDArray[np.float64]]:
    """Choice model and dispersion, on the first imputation."""
    stats = source.statistics(0, None, folds=FOLDS)
    fits = [fit_em(stats, model, priors=priors) for model in _models(forced)]
    best = max(fits, key=lambda fit: fit.log_posterior)
    dispersion = pearson_dispersion(stats, best.rates)
    return choose_model(stats, priors, precision_of(dispersion)), dispersion


def _models(forced: ChoiceModel | None) -> tuple[ChoiceModel, ...]:
    return ("one_step", "markov_chain") if forced is None else (forced,)


def _sample(
    source: _Paths,
    model: ChoiceModel,
    priors: Priors,
    dispersion: NDArray[np.float64],
    seed: int,
) -> _Sampled:
    """EM, Laplace, full-rank Gaussian, and NUTS where its k̂ asks for it."""
    markov, precision = density.is_markov(model), precision_of(dispersion)
    rng = np.random.default_rng(seed)
    stats = source.statistics(0, None)
    rates = fit_em(stats, model, priors=priors, precision=precision).rates
    # Room for imputations with more patterns: growing would compile everything again.
    n_rows = density.padded_size(int(1.15 * density.n_patterns(stats)))
    data = density.block(stats, priors, precision, n_rows)
    shape = fit_laplace(density.to_unconstrained(rates), data, markov)
    gaussian = fit_variational(shape, data, markov, seed=seed)
    chains = Chains(shape, markov, seed=seed) if gaussian.khat > GATE else None
    shape_of = (stats.n_stores, stats.n_products)
    chunks = max(1, MIN_CHUNKS // source.count)
    settling = SETTLING if source.augments else 0
    kept, used, exceeds = [], [], []
    for sweep in range(settling + source.count * (MAX_PASSES if chains else 1)):
        if sweep > 0 and (source.augments or source.count > 1):
            stats = source.statistics(sweep, rates)
            data = density.block(stats, priors, precision, n_rows)
            n_rows = len(data.store)
            if chains is None:
                shape = fit_laplace(shape.loc, data, markov)
        theta = _draw(shape, data, markov, chains, chunks, seed + sweep)
        rates = _rates_of(theta[-1, :1], shape_of, model)[0]
        if sweep < settling:
            continue
        kept.append(theta)
        used.append(stats)
        exceeds.append(_check(theta, stats, model, dispersion, rng))
        if len(kept) % source.count == 0:
            quantities = _quantities(np.concatenate(kept), shape_of)
            mixed = chains is None or effective_sample_size(quantities).min() >= MIN_ESS
            if mixed and _rhat(quantities, source.count) < MAX_RHAT:
                break
    return _Sampled(
        model,
        "nuts" if chains else "variational",
        np.concatenate(kept),
        gaussian.elbo,
        gaussian.khat,
        used[: source.count],
        np.concatenate(exceeds),
        source.count,
    )


def _sample_gaussian(
    statistics: list[PatternStatistics],
    model: ChoiceModel,
    priors: Priors,
    dispersion: NDArray[np.float64],
    seed: int,
) -> _Sampled:
    """The other choice model on the same imputations, by Laplace draws.

    Its intervals cover as well as those of NUTS (.95 of α on the presets) and it needs
    no compilation of a sampler for a model that the hold-out does not prefer.
    """
    markov, precision = density.is_markov(model), precision_of(dispersion)
    rng = np.random.default_rng(seed)
    rates = fit_em(statistics[0], model, priors=priors, precision=precision).rates
    start = density.to_unconstrained(rates)
    n_rows = max(density.padded_size(density.n_patterns(stats)) for stats in statistics)
    kept: list[NDArray[np.float64]] = []
    exceeds, khat = [], float("nan")
    size = CHUNK * max(1, MIN_CHUNKS // len(statistics))
    for stats in statistics:
        data = density.block(stats, priors, precision, n_rows)
        shape = fit_laplace(start, data, markov)
        start = shape.loc
        draws = shape.sample(CHAINS * size, rng)
        if not kept:
            log_p = np.asarray(density.log_posteriors(draws, data, markov))
            khat = pareto_khat(log_p - shape.log_density(draws))
        kept.append(draws.reshape(size, CHAINS, -1))
        exceeds.append(_check(kept[-1], stats, model, dispersion, rng))
    return _Sampled(
        model,
        "laplace",
        np.concatenate(kept),
        float("nan"),
        khat,
        statistics,
        np.concatenate(exceeds),
        len(statistics),
    )


def _check(
    theta: NDArray[np.float64],
    stats: PatternStatistics,
    model: ChoiceModel,
    dispersion: NDArray[np.float64],
    rng: np.random.Generator,
) -> NDArray[np.float64]:
    """Predictive check of about ten draws of one imputation."""
    shape = (stats.n_stores, stats.n_products)
    some = _rates_of(theta[:: max(1, len(theta) // 10), 0], shape, model)
    return predictive_check(stats, some, dispersion, rng)


def _draw(
    shape: Gaussian,
    data: density.Block,
    markov: bool,
    chains: Chains | None,
    chunks: int,
    seed: int,
) -> NDArray[np.float64]:
    """(N, 4, D) draws given one imputation."""
    if chains is not None:
        # The first steps walk from the last imputation's posterior to this one's.
        return chains.run(shape, data, chunks)[WALK_OVER:]
    fitted = fit_variational(shape, data, markov, seed=seed).gaussian
    draws = fitted.sample(chunks * CHUNK * CHAINS, np.random.default_rng(seed))
    return draws.reshape(-1, CHAINS, len(shape.loc))


def _rates_of(
    theta: NDArray[np.float64], shape: tuple[int, int], model: ChoiceModel
) -> list[Rates]:
    lam, alpha = density.to_rates(theta, *shape)
    return [Rates(a, b, model) for a, b in zip(lam, alpha, strict=True)]


def _quantities(theta: NDArray[np.float64], shape: tuple[int, int]) -> NDArray[np.float64]:
    """(N, chains, Q): λ and α off the diagonal; what is reported is what must mix."""
    lam, alpha = density.to_rates(theta.reshape(-1, theta.shape[-1]), *shape)
    n = shape[1]
    flat = np.concatenate([lam.reshape(len(lam), -1), alpha[:, ~np.eye(n, dtype=bool)]], axis=1)
    return flat.reshape(*theta.shape[:2], -1)


def _rhat(quantities: NDArray[np.float64], n_imputations: int) -> float:
    return float(potential_scale_reduction(quantities, split=n_imputations == 1).max())


def _posterior(
    panel: Panel,
    found: _Sampled,
    priors: Priors,
    choice: ModelChoice,
    dispersion: NDArray[np.float64],
    n_draws: int,
    began: float,
    rng: np.random.Generator,
) -> SubstitutionPosterior:
    shape = (len(panel.stores), panel.n_products)
    exposure_out = np.mean([stats.exposure_out() for stats in found.statistics], axis=0)
    flat = found.theta.reshape(-1, found.theta.shape[-1])
    thin = flat[np.linspace(0, len(flat) - 1, n_draws).astype(np.int64)]
    lam, alpha = density.to_rates(thin, *shape)
    row = np.concatenate([alpha, 1.0 - alpha.sum(axis=2, keepdims=True)], axis=2)
    # The likelihood does not hold the row of a product that was never out: its
    # posterior is the prior, drawn exactly.
    for i in np.flatnonzero(exposure_out.sum(axis=0) <= 0.0):
        row[:, i] = priors.draw_row(int(i), n_draws, rng)
    source, target = np.nonzero(priors.off_diagonal())
    pairs = np.clip(row[:, source, target], 0.0, 1.0)
    quantities = _quantities(found.theta, shape)
    chained = found.engine == "nuts"
    return SubstitutionPosterior.of(
        panel,
        lam,
        (source, target),
        pairs,
        exposure_out=exposure_out,
        contraction=1.0 - pairs.std(axis=0) / priors.sd()[source, target],
        informed=priors.informed()[source, target],
        diagnostics=Diagnostics(
            engine=found.engine,
            choice_model=found.model,
            resolved=choice.resolved,
            holdout_loglik_one_step=choice.holdout_one_step,
            holdout_loglik_markov_chain=choice.holdout_markov_chain,
            holdout_se=choice.standard_error,
            elbo=found.elbo,
            khat=found.khat,
            rhat=_rhat(quantities, found.n_imputations) if chained else float("nan"),
            min_ess=float(effective_sample_size(quantities).min()) if chained else float("nan"),
            ppc_p=float(found.exceeds.mean()),
            dispersion=float(dispersion.max()),
            n_imputations=found.n_imputations,
            seconds=time.perf_counter() - began,
        ),
    )
