"""Sparse statistics and blocks of a large category against the dense ones of a small one."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from retail_assets.models.panel import Spans
from retail_assets.models.substitution import large as large_module
from retail_assets.models.substitution.em import fit_em
from retail_assets.models.substitution.large import fit_large, fit_sparse_em, target_dispersion
from retail_assets.models.substitution.patterns import availability_statistics
from retail_assets.models.substitution.posterior import fit_posterior
from retail_assets.models.substitution.priors import Priors
from retail_assets.models.substitution.sparse import PairPriors, target_statistics
from retail_assets.simulator import panel_of, simulate
from retail_assets.simulator.presets import large

EVERYONE = [np.array([i for i in range(5) if i != j]) for j in range(5)]


@pytest.fixture(scope="module")
def paper():
    history = simulate("paper", 2)
    own = history.category()
    return panel_of(history), [s.out for s in own.stores], [np.ones(200_000)], own.truth


def test_target_rows_equal_the_dense_patterns(paper) -> None:
    panel, out, weight, _ = paper
    sparse = target_statistics(panel, out, weight, candidates=EVERYONE)
    dense = availability_statistics(panel, out, weight, partial=False)
    for j in range(5):
        rows = slice(sparse.row_ptr[j], sparse.row_ptr[j + 1])
        for mask, counts in zip(sparse.mask[rows], sparse.counts[rows], strict=True):
            pattern = np.zeros(5)
            pattern[EVERYONE[j]] = (mask >> np.arange(4)) & 1
            same = (dense.out == pattern).all(axis=1)
            assert counts == pytest.approx(dense.counts[same, j].sum())
    assert sparse.exposure_out == pytest.approx(dense.exposure_out())


def test_sparse_em_agrees_with_the_dense_one_when_all_pairs_are_candidates(paper) -> None:
    panel, out, weight, _ = paper
    stats = target_statistics(panel, out, weight, candidates=EVERYONE)
    flat = replace(PairPriors.of(stats, None), success=np.ones(20), none=np.ones(5))
    sparse = fit_sparse_em(stats, flat, tolerance=1e-8, max_iterations=5000)
    dense = fit_em(availability_statistics(panel, out, weight), tolerance=1e-12).rates
    assert sparse.arrival_rate == pytest.approx(dense.arrival_rate, rel=5e-3)
    alpha = dense.substitution_rate[stats.source, stats.target]
    assert sparse.pair_rate == pytest.approx(alpha, abs=0.01)
    total = np.bincount(stats.source, sparse.pair_rate, 5) + sparse.none
    assert total == pytest.approx(np.ones(5))
    assert target_dispersion(stats, sparse) == pytest.approx(np.ones(5), abs=0.2)


def test_candidates_are_the_products_customers_go_to() -> None:
    history = simulate(large(30), 1)
    own = history.category()
    panel, out = panel_of(history), [s.out for s in own.stores]
    stats = target_statistics(panel, out, [np.ones(panel.stores[0].n_intervals)])
    true = own.truth.substitution_rate
    found = true[stats.source, stats.target]
    assert len(found) > 30
    assert (found > 0).mean() > 2 * (true > 0).mean()
    # What is missed is small: found pairs carry most of the strong flows.
    strong = true > np.quantile(true[true > 0], 0.8)
    listed = np.zeros_like(strong)
    listed[stats.source, stats.target] = True
    assert listed[strong].mean() > 0.6


def test_known_pairs_are_always_candidates(paper) -> None:
    panel, out, weight, _ = paper
    stats = target_statistics(panel, out, weight, known_pairs={3: [0]}, n_candidates=2)
    pairs = set(zip(stats.source.tolist(), stats.target.tolist(), strict=True))
    assert (0, 3) in pairs


def test_a_large_category_goes_through_the_same_door_and_its_rows_stay_rows() -> None:
    history = simulate(large(20, n_intervals=60_000), 1)
    own = history.category()
    panel, out = panel_of(history), [s.out for s in own.stores]
    weight = [np.ones(panel.stores[0].n_intervals)]
    pairs = {(0, 1): (2.0, 8.0)}
    fit = fit_posterior(
        panel, [out, out], weight, priors=Priors.default(20, pairs), seed=1, n_draws=200
    )
    assert fit.diagnostics.engine == "gibbs"
    assert not fit.diagnostics.resolved
    assert fit.pair_rate.shape[0] == fit.arrival_rate.shape[0] == 200
    total = np.zeros((200, 20))
    np.add.at(total.T, fit.source, fit.pair_rate.T)
    # With 'none' at most 1: what is missing went to targets that are not named.
    assert total.max() <= 1.0 + 1e-9
    assert total.mean() > 0.6
    assert (0, 1) in set(zip(fit.source.tolist(), fit.target.tolist(), strict=True))


def test_a_source_never_out_is_unidentified_in_a_large_category() -> None:
    history = simulate(large(18, n_intervals=40_000), 2)
    own = history.category()
    panel, spans = panel_of(history), own.stores[0].out
    # As if product 0 had always been there: its spans are taken away.
    kept = Spans.join(
        [(spans.of(j) if j else (spans.start[:0], spans.stop[:0])) for j in range(18)]
    )
    weight = [np.ones(panel.stores[0].n_intervals)]
    fit = fit_large(
        panel, [[kept]], weight, priors=Priors.default(18, {(0, 1): (2.0, 8.0)}), seed=1
    )
    own_flags = {fit.flag[e] for e in np.flatnonzero(fit.source == 0)}
    assert own_flags <= {"unidentified", "prior_only"}


def test_too_many_products_for_pairs_are_refused_with_a_remedy(monkeypatch) -> None:
    monkeypatch.setattr(large_module, "MOST_PRODUCTS", 17)
    history = simulate(large(18, n_intervals=1_000), 2)
    with pytest.raises(ValueError, match=r"18 products in one category.* smaller categories"):
        fit_large(panel_of(history), [], [], seed=1)


@pytest.fixture(scope="module", params=[1, 2])
def fifty(request):
    history = simulate(large(50, n_intervals=40_000), request.param)
    own = history.category()
    weight = [np.ones(panel_of(history).stores[0].n_intervals)]
    return fit_large(panel_of(history), [[own.stores[0].out]], weight, seed=1), own.truth


def test_named_pairs_are_neither_winners_nor_over_confident(fifty) -> None:
    # Picking the best eight and fitting them: bias .24, coverage .30 on these data.
    fit, truth = fifty
    pair = fit.target < 50
    alpha = truth.substitution_rate[fit.source[pair], fit.target[pair]]
    low, high = fit.substitution.q025[pair], fit.substitution.q975[pair]
    assert pair.sum() > 200
    assert abs((fit.substitution.mean[pair] - alpha).mean()) < 0.02
    assert ((low <= alpha) & (alpha <= high)).mean() > 0.9


def test_arrival_rates_do_not_keep_the_customers_of_unnamed_pairs(fifty) -> None:
    fit, truth = fifty
    rate = truth.arrival_rate
    assert ((fit.demand.q025 <= rate) & (rate <= fit.demand.q975)).mean() > 0.85
    assert (fit.demand.mean / rate).mean() == pytest.approx(1.0, abs=0.03)
