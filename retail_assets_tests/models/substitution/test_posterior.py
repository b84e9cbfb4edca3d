"""The whole of step 2 on planted truth."""

from __future__ import annotations

import numpy as np
import pytest

from retail_assets.models.panel import Rates, Spans
from retail_assets.models.substitution import density
from retail_assets.models.substitution.choice import choose_model
from retail_assets.models.substitution.diagnostics import pearson_dispersion, precision_of
from retail_assets.models.substitution.em import fit_em
from retail_assets.models.substitution.laplace import fit_laplace
from retail_assets.models.substitution.patterns import availability_statistics
from retail_assets.models.substitution.posterior import fit_posterior
from retail_assets.models.substitution.priors import Priors
from retail_assets.models.substitution.result import Summary, flags
from retail_assets.simulator import panel_of, simulate

OFF = ~np.eye(5, dtype=bool)


def _known(preset: str, seed: int):
    """Panel, true spans, true weight and true rates of a preset."""
    history = simulate(preset, seed)
    own = history.category()
    weight = [weather.weight for weather in history.weather]
    return panel_of(history), [store.out for store in own.stores], weight, own.truth


@pytest.fixture(scope="module")
def never_out():
    panel, out, weight, truth = _known("never_out", 3)
    priors = Priors.default(5, {(0, 2): (8.0, 2.0)})
    fit = fit_posterior(
        panel, [out, out], weight, priors=priors, seed=1, n_draws=800, choice_model="one_step"
    )
    return fit, truth, priors


def test_a_product_never_out_keeps_its_prior_and_says_so(never_out) -> None:
    fit, _, priors = never_out
    own = fit.source == 0
    exact = priors.draw_row(0, 20_000, np.random.default_rng(0))
    assert fit.substitution.mean[own] == pytest.approx(
        exact.mean(axis=0)[fit.target[own]], abs=0.03
    )
    assert fit.substitution.sd[own] == pytest.approx(exact.std(axis=0)[fit.target[own]], abs=0.03)
    assert np.all(fit.n_oos_customers[own] == 0)
    flags_of = dict(zip(fit.target[own].tolist(), np.array(fit.flag)[own].tolist(), strict=True))
    assert flags_of == {
        1: "unidentified",
        2: "prior_only",
        3: "unidentified",
        4: "unidentified",
        5: "unidentified",
    }


def test_intervals_hold_the_truth_of_the_products_that_were_out(never_out) -> None:
    fit, truth, _ = never_out
    seen = (fit.source != 0) & (fit.target < 5)
    true = truth.substitution_rate[fit.source[seen], fit.target[seen]]
    inside = (fit.substitution.q025[seen] <= true) & (true <= fit.substitution.q975[seen])
    assert inside.mean() >= 0.8
    within = (fit.demand.q025 <= truth.arrival_rate) & (truth.arrival_rate <= fit.demand.q975)
    assert within.mean() >= 0.8


def test_rows_of_every_draw_sum_to_one_with_none(never_out) -> None:
    fit, _, _ = never_out
    total = np.zeros((fit.n_draws, 5))
    np.add.at(total.T, fit.source, fit.pair_rate.T)
    assert total == pytest.approx(np.ones_like(total), abs=1e-9)
    assert fit.substitution_rate.sum(axis=2).max() <= 1 + 1e-9
    assert fit.rates(7).substitution_rate == pytest.approx(fit.substitution_rate[7])
    assert fit.rates(7).choice_model == "one_step"


def test_diagnostics_are_filled_in(never_out) -> None:
    found = never_out[0].diagnostics
    assert found.engine == "nuts"
    assert found.khat > 0.5
    assert found.rhat < 1.01
    assert found.min_ess > 400
    assert 0.01 <= found.ppc_p <= 0.99
    assert found.dispersion < 1.2
    assert found.n_imputations == 2


@pytest.mark.parametrize("preset", ["paper", "markov_chain"])
def test_the_choice_model_that_made_the_data_wins_or_nothing_is_claimed(preset) -> None:
    truth = "markov_chain" if preset == "markov_chain" else "one_step"
    resolved = 0
    for seed in range(3):
        panel, out, weight, _ = _known(preset, seed)
        choice = choose_model(availability_statistics(panel, out, weight, folds=2))
        assert choice.choice_model == truth or not choice.resolved
        resolved += choice.resolved
    assert resolved >= 1


def test_choosing_needs_two_folds_of_days() -> None:
    panel, out, weight, _ = _known("paper", 0)
    with pytest.raises(ValueError, match="folds"):
        choose_model(availability_statistics(panel, out, weight))


def test_laplace_intervals_cover_planted_truth() -> None:
    covered = []
    for seed in range(4):
        panel, out, weight, truth = _known("fast_cycle", seed)
        stats = availability_statistics(panel, out, weight)
        data = density.block(stats, Priors.default(5), n_rows=96)
        shape = fit_laplace(density.to_unconstrained(fit_em(stats).rates), data, False)
        draws = shape.sample(2000, np.random.default_rng(seed))
        lam, alpha = density.to_rates(draws, 1, 5)
        for found, true in (
            (alpha[:, OFF], truth.substitution_rate[OFF]),
            (lam[:, 0], truth.arrival_rate[0]),
        ):
            low, high = np.quantile(found, [0.025, 0.975], axis=0)
            covered.append((low <= true) & (true <= high))
    assert 0.88 <= np.concatenate(covered).mean() <= 1.0


def test_dropping_run_out_intervals_would_bias_rates_and_keeping_them_does_not() -> None:
    biases = []
    for seed in range(3):
        panel, out, weight, truth = _known("fast_cycle", seed)
        rates = fit_em(availability_statistics(panel, out, weight)).rates
        biases.append(rates.arrival_rate / truth.arrival_rate - 1)
    assert abs(np.mean(biases)) < 0.015


def test_dispersion_is_one_for_poisson_counts_and_more_where_days_differ() -> None:
    panel, out, weight, _ = _known("paper", 0)
    stats = availability_statistics(panel, out, weight)
    plain = pearson_dispersion(stats, fit_em(stats).rates)
    assert plain == pytest.approx(np.ones(5), abs=0.15)
    assert np.all(precision_of(plain) == 1.0)
    panel, out, weight, _ = _known("common_shock", 0)
    ignored = availability_statistics(panel, out, [np.ones_like(w) for w in weight])
    wide = pearson_dispersion(ignored, fit_em(ignored).rates)
    assert wide.min() > 5
    assert precision_of(wide) == pytest.approx(1 / wide)


def test_sampled_statuses_widen_the_posterior() -> None:
    panel, out, weight, _ = _known("paper", 1)
    rng = np.random.default_rng(0)

    def jitter(_: np.random.Generator, rates: Rates | None) -> list[Spans]:
        assert rates is None or rates.choice_model == "one_step"
        # All restocks moved by up to four hours: what a poor status estimate would do.
        spans = out[0]
        later = np.maximum(spans.start, spans.stop - int(rng.integers(0, 240)))
        return [Spans(spans.indptr, spans.start, later)]

    certain = fit_posterior(panel, [out], weight, seed=1, choice_model="one_step")
    unsure = fit_posterior(panel, jitter, weight, seed=1, choice_model="one_step", n_imputations=6)
    assert unsure.demand.sd.mean() > 1.3 * certain.demand.sd.mean()
    assert unsure.diagnostics.n_imputations == 6


def test_no_path_is_an_error() -> None:
    panel, _, weight, _ = _known("paper", 0)
    with pytest.raises(ValueError, match="path"):
        fit_posterior(panel, [], weight, seed=1)


def test_flags_follow_customers_and_contraction() -> None:
    customers = np.array([5.0, 500.0, 500.0, 500.0, 5.0])
    contraction = np.array([0.9, 0.05, 0.3, 0.8, 0.9])
    informed = np.array([False, False, False, False, True])
    assert flags(customers, contraction, informed) == (
        "unidentified",
        "unidentified",
        "weak",
        "ok",
        "prior_only",
    )


def test_priors_reject_pairs_that_cannot_be() -> None:
    with pytest.raises(ValueError, match="pair"):
        Priors.default(3, {(1, 1): (2.0, 2.0)})
    with pytest.raises(ValueError, match="alpha, beta"):
        Priors.default(3, {(0, 1): (0.0, 2.0)})


def test_summary_is_of_the_first_axis() -> None:
    draws = np.linspace(0, 1, 1001)[:, None] * np.array([1.0, 2.0])
    found = Summary.of(draws)
    assert found.mean == pytest.approx([0.5, 1.0])
    assert found.q975 == pytest.approx([0.975, 1.95])
