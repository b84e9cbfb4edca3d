"""Scores against their definitions, pair by pair."""

import numpy as np
import pytest

from retail_assets.models.stockouts.score import reliability, score_status


def test_scores_equal_their_definitions():
    rng = np.random.default_rng(0)
    p_out = np.round(rng.random(80), 1)
    truth = rng.random(80) < p_out
    score = score_status(p_out, truth)
    pairs = [(a > b) + 0.5 * (a == b) for a in p_out[truth] for b in p_out[~truth]]
    assert score.auc == pytest.approx(np.mean(pairs))
    assert score.type_1 == sum(p > 0.5 and not y for p, y in zip(p_out, truth, strict=True)) / sum(
        ~truth
    )
    assert score.type_2 == sum(p <= 0.5 and y for p, y in zip(p_out, truth, strict=True)) / sum(
        truth
    )
    base = truth.mean()
    assert score.skill == pytest.approx(1 - np.mean((p_out - truth) ** 2) / (base * (1 - base)))


def test_one_sided_truth_has_no_auc():
    score = score_status(np.array([0.1, 0.7]), np.array([False, False]))
    assert np.isnan(score.auc)
    assert np.isnan(score.type_2)
    assert score.type_1 == 0.5


def test_nothing_to_score_is_an_error():
    with pytest.raises(ValueError, match="0 probabilities"):
        score_status(np.empty(0), np.empty(0, bool))


def test_a_calibrated_forecast_lies_on_the_diagonal():
    rng = np.random.default_rng(1)
    p_out = rng.random(200_000)
    curve = reliability(p_out, rng.random(200_000) < p_out)
    assert curve.worst_gap() < 0.015
    assert curve.n.sum() == 200_000
    assert reliability(p_out, rng.random(200_000) < p_out**2).worst_gap() > 0.2
