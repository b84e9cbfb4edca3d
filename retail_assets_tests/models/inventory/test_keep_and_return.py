"""Keep rate and return delay from censored shipments: planted truth and Kaplan-Meier."""

import numpy as np
import pytest
from scipy import stats

from retail_assets.models.inventory.returns import Settlement, fit_delay, keep_rates

TRUE_DELAY = stats.nbinom(6, 0.4)


def shipments(n, keep, seed, *, days=200, reported=True):
    """Sent evenly over ``days``; (sent, returned, kept) as known on the last day."""
    rng = np.random.default_rng(seed)
    sent = rng.integers(0, days, n)
    kept = rng.random(n) < keep
    settled = sent + TRUE_DELAY.rvs(n, random_state=rng)
    known = settled < days
    back = np.where(known & ~kept, settled, np.nan)
    mark = np.where(known & kept & reported, 1, -1)
    return sent, back, mark, days - 1


def naive_keep(sent, back, mark):
    return 1 - np.isfinite(back).sum() / len(sent)


def test_delay_is_kaplan_meiers_where_nothing_is_ambiguous():
    """Every unit known not to be kept: the estimator by its definition."""
    rng = np.random.default_rng(1)
    sent = rng.integers(0, 40, 300)
    settled = sent + TRUE_DELAY.rvs(300, random_state=rng)
    back = np.where(settled < 40, settled, np.nan)
    fit = fit_delay(sent, back, np.zeros(300, int), today=39)
    delay, age = back - sent, 39 - sent
    tail = 1.0
    last = int(np.nanmax(delay))
    for d in range(last):
        came = np.sum(delay == d)
        at_risk = np.sum(np.where(np.isfinite(delay), delay >= d, age >= d))
        tail *= 1 - came / at_risk
        assert fit.still_out(d) == pytest.approx(tail, abs=1e-12)
    assert fit.still_out(last) == pytest.approx(0, abs=1e-12)
    assert fit.day_pmf.sum() == pytest.approx(1)


@pytest.mark.parametrize("reported", [True, False])
def test_truth_is_recovered_with_and_without_reports_of_kept_units(reported):
    sent, back, mark, today = shipments(20_000, 0.6, 2, days=60, reported=reported)
    fit = fit_delay(sent, back, mark, today=today)
    assert fit.reported is reported
    assert fit.keep_rate == pytest.approx(0.6, abs=0.012)
    assert fit.still_out(np.arange(25)) == pytest.approx(TRUE_DELAY.sf(np.arange(25)), abs=0.02)
    assert abs(naive_keep(sent, back, mark) - 0.6) > 0.04


def test_what_happened_later_is_not_used():
    sent, back, mark, _ = shipments(4_000, 0.5, 3, days=80, reported=False)
    now = 50
    seen = sent <= now
    early = np.where(back <= now, back, np.nan)
    a = fit_delay(sent[seen], back[seen], mark[seen], today=now)
    b = fit_delay(sent[seen], early[seen], mark[seen], today=now)
    assert a.keep_rate == b.keep_rate


def test_weeks_add_up_and_residuals_of_fresh_units_are_the_whole_delay():
    sent, back, mark, today = shipments(5_000, 0.5, 4)
    fit = fit_delay(sent, back, mark, today=today)
    assert fit.week_pmf.sum() == pytest.approx(1)
    # Sent on any day of the week, floor((u + d) / 7) is d / 7 on average.
    mean_days = np.sum(fit.day_pmf * np.arange(len(fit.day_pmf)))
    assert np.sum(fit.week_pmf * np.arange(len(fit.week_pmf))) == pytest.approx(mean_days / 7)
    steady = fit.residual()
    assert steady.sum() == pytest.approx(1)
    aged = fit.residual(ages=np.full(50, 14))
    later = fit.day_pmf[15:22].sum() / fit.day_pmf[15:].sum()
    assert aged[0] == pytest.approx(later)


@pytest.mark.parametrize("reported", [True, False])
def test_keep_rates_cover_the_truth_per_style(reported):
    rng = np.random.default_rng(5)
    n_styles = 300
    truth = rng.beta(12, 8, n_styles)
    style = rng.integers(0, n_styles, 9_000)
    sent, back, mark, today = shipments(9_000, truth[style], 6, days=60, reported=reported)
    fit = fit_delay(sent, back, mark, today=today)
    rates = keep_rates(style, sent, back, mark, fit, n_styles=n_styles, today=today)
    low, high = stats.beta.ppf([[0.025], [0.975]], rates.alpha, rates.beta)
    assert 0.92 <= np.mean((low <= truth) & (truth <= high)) <= 0.98
    assert rates.prior[0] / sum(rates.prior) == pytest.approx(0.6, abs=0.03)


def test_a_style_without_shipments_gets_the_category_prior():
    sent, back, mark, today = shipments(2_000, 0.7, 7)
    style = np.random.default_rng(8).integers(0, 10, 2_000)
    fit = fit_delay(sent, back, mark, today=today)
    rates = keep_rates(style, sent, back, mark, fit, n_styles=11, today=today)
    assert (rates.alpha[10], rates.beta[10]) == rates.prior
    assert rates.mean[10] == pytest.approx(0.7, abs=0.03)


def test_a_unit_that_came_back_was_not_kept_whatever_the_mark_says():
    fit = fit_delay([0, 0, 1], [5, np.nan, np.nan], [1, 1, 1], today=30)
    assert fit.keep_rate == pytest.approx(2 / 3)


def test_units_that_never_come_back_are_counted():
    fit = fit_delay([0, 1, 2], [7.0, 9.0, np.nan], [0, 0, 0], today=100)
    assert fit.never_returned == 1


def test_impossible_shipments_are_named():
    with pytest.raises(ValueError, match="shipment 1"):
        fit_delay([0, 9], [3, 4], [0, 0], today=20)
    with pytest.raises(ValueError, match="no shipments"):
        fit_delay([], [], [], today=1)
    with pytest.raises(ValueError, match="between 0 and 1"):
        Settlement.of([[1.2]], [1.0])
