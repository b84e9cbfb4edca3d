"""Rows of the cold start bench that rest on data: published values and real input."""

from __future__ import annotations

from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from scipy import optimize, stats
from scipy.special import expit

from bench import Row, at_most
from retail_assets.models.cold_start.beta_binomial import GroupFits, fit_groups
from retail_assets.models.cold_start.counts import checked_trials
from retail_assets.models.cold_start.hierarchy import fit_hierarchy
from retail_assets.models.cold_start.likelihood import row_derivatives
from retail_assets.models.cold_start.posterior import style_posterior
from retail_assets.models.cold_start.regression import fit_regression

FloatArray = NDArray[np.float64]
DATA = Path(__file__).parents[1].parent / "shared" / "data"


def published_rows() -> list[Row]:
    """R1, R2, R4-R6, R9-R11 of the methods page, each against its printed digits."""
    if not DATA.exists():
        return [Row("published values", "not here: ../shared/data is absent")]
    rats = np.loadtxt(DATA / "rat_tumors.csv", delimiter=",", skiprows=1)
    boys = np.repeat(
        np.arange(13.0), [3, 24, 104, 286, 670, 1033, 1343, 1112, 829, 478, 181, 45, 7]
    )
    rows = _roots("R1 rats", rats[:70, 0], rats[:70, 1], (2.304768, 14.079707))
    rows += _roots("R4 boys", boys, np.full(boys.size, 12.0), (34.09558, 31.5715))
    rows += [
        _digits(
            "R4 boys: log-likelihood",
            [_fit(boys, np.full(boys.size, 12.0)).log_likelihood[0]],
            ["-12492.9"],
        )
    ]
    rows += [_digits("R2 rats: mode of (log α/β, log(α+β))", _mode(rats), ["-1.79", "2.74"])]
    litters = np.loadtxt(DATA / "lirat.csv", delimiter=",", skiprows=1)
    one = _fit(litters[:, 1], litters[:, 0])
    rows.append(
        _digits(
            "R9 litters: α, β, log-likelihood",
            [one.alpha[0], one.beta[0], one.log_likelihood[0]],
            [".31027318", ".35646065", "-123.326071"],
        )
    )
    four = fit_groups(checked_trials(litters[:, 1], litters[:, 0], litters[:, 3] - 1))
    vgam = np.array([[1.52554283, 4.02091422, 1.31850675], [0.43139511, 35.4252865, 26.3450496]])
    ours = np.stack([four.alpha, four.beta])[:, [0, 1, 3]]
    rows.append(
        at_most(
            "R10 litters by group: rel. difference to VGAM", float(abs(ours / vgam - 1).max()), 1e-6
        )
    )
    return rows + _batting()


def _batting() -> list[Row]:
    hits, at_bats = np.loadtxt(DATA / "lah.csv", delimiter=",", skiprows=1).T
    trials = checked_trials(hits, at_bats)
    alone = fit_groups(trials)
    fit = fit_regression(trials, log_n=np.log10(at_bats))
    ours = np.append(fit.coefficients, fit.log_sigma)
    vgam = np.array([-1.6879018382, 0.1923962919, -6.2986765788])
    return [
        _digits("R5 batting: α, β", [alone.alpha[0], alone.beta[0]], ["72.1", "215"]),
        _digits("R6 batting: b0, b1, log σ", ours, ["-1.688", "0.192", "-6.299"]),
        Row("R6 batting: s.e. of b0, b1", "{:.5f}, {:.5f}".format(*fit.se), ".00907, .00280"),
        at_most("R11 batting: rel. difference to VGAM", float(abs(ours / vgam - 1).max()), 1e-6),
    ]


def _fit(k: FloatArray, n: FloatArray) -> GroupFits:
    return fit_groups(checked_trials(k, n))


def _digits(metric: str, ours: object, printed: list[str]) -> Row:
    """Ours rounded to the digits a source prints."""
    values = np.asarray(ours, dtype=float)
    texts = [f"{v:.{len(p.partition('.')[2])}f}" for v, p in zip(values, printed, strict=True)]
    equal = all(float(t) == float(p) for t, p in zip(texts, printed, strict=True))
    return Row(metric, ", ".join(texts), ", ".join(printed), equal)


def _roots(metric: str, k: FloatArray, n: FloatArray, published: tuple[float, float]) -> list[Row]:
    """Our maximum against the root of the score in 40 digits; the published one beside it."""
    import mpmath

    fit = _fit(k, n)
    pairs, counts = np.unique(np.stack([k, n], axis=1).astype(int), axis=0, return_counts=True)
    with mpmath.workdps(40):

        def score(a: mpmath.mpf, b: mpmath.mpf) -> tuple[mpmath.mpf, mpmath.mpf]:
            at_a, at_b, both = (mpmath.digamma(v) for v in (a, b, a + b))
            in_a = in_b = mpmath.mpf(0)
            for (x, y), c in zip(pairs.tolist(), counts.tolist(), strict=True):
                rest = both - mpmath.digamma(a + b + y)
                in_a += c * (mpmath.digamma(a + x) - at_a + rest)
                in_b += c * (mpmath.digamma(b + y - x) - at_b + rest)
            return in_a, in_b

        root = np.array([float(v) for v in mpmath.findroot(score, published)])
    ours = np.array([fit.alpha[0], fit.beta[0]])
    return [
        at_most(
            f"{metric}: rel. difference to a 40-digit root", float(abs(ours / root - 1).max()), 1e-9
        ),
        Row(f"{metric}: α, β", f"{ours[0]:.6f}, {ours[1]:.6f}", "{}, {}".format(*published)),
    ]


def _mode(rats: FloatArray) -> FloatArray:
    """Mode of the rats' posterior under (α + β)^(-5/2), in (log α/β, log(α + β))."""

    def loss(x: FloatArray) -> float:
        at = row_derivatives(
            rats[:, 0], rats[:, 1], np.full(len(rats), x[0]), np.full(len(rats), -x[1])
        )
        return -float(at.value.sum() + np.log(expit(x[0]) * expit(-x[0])) - 0.5 * x[1])

    return np.asarray(optimize.minimize(loss, [-1.0, 2.0], method="Nelder-Mead").x)


def open_bandit_rows() -> list[Row]:
    """Men's campaign, random policy: clicks by item, each day foretold from the six others."""
    folder = DATA / "open_bandit_men"
    if not folder.exists():
        return [Row("Open Bandit men", "not here: ../shared/data is absent")]
    import pandas as pd

    items = pd.read_csv(folder / "item_context.csv", index_col=0).set_index("item_id").sort_index()
    shown = pd.read_csv(folder / "men.csv", usecols=["timestamp", "item_id", "click"])
    day = shown["timestamp"].str[:10].factorize()[0]
    item, click = shown["item_id"].to_numpy(), shown["click"].to_numpy()
    features = [f"item_feature_{i}" for i in (1, 2, 3)]
    losses: dict[str, FloatArray] = {}
    for feature in features:
        group = items[feature].factorize()[0]
        for name, values in _held_out(item, click, day, group).items():
            losses[f"{name} {feature}" if name == "posterior" else name] = values
    whole = fit_groups(checked_trials(np.bincount(item, click), np.bincount(item)))
    rows = [
        Row("Open Bandit men: clicks / shown", f"{click.sum()} / {click.size}"),
        Row("Open Bandit men: Tarone's z between items", float(whole.tarone_z[0])),
        Row("Open Bandit men: log loss, naive k/n", 1e3 * losses["naive"].mean()),
        Row("Open Bandit men: log loss, pooled", 1e3 * losses["pooled"].mean()),
    ]
    for feature in features:
        own = losses[f"posterior {feature}"]
        gap = own - losses["pooled"]
        error = gap.std() / np.sqrt(gap.size)
        better = own.mean() < min(losses["naive"].mean(), losses["pooled"].mean())
        label = f"Open Bandit men: log loss, posterior by {feature}"
        rows.append(Row(label, 1e3 * own.mean(), "< naive, pooled", bool(better)))
        rows.append(Row(f"{label}: (minus pooled) / s.e.", float(gap.mean() / error)))
    return rows


def _held_out(
    item: NDArray[np.int64], click: FloatArray, day: NDArray[np.int64], group: NDArray[np.int64]
) -> dict[str, FloatArray]:
    """Log loss of every impression under each method, its own day left out."""
    losses = {name: np.empty(click.size) for name in ("posterior", "pooled", "naive")}
    for held in np.unique(day):
        test = day == held
        n = np.bincount(item[~test], minlength=group.size)
        k = np.bincount(item[~test], click[~test], group.size)
        fitted = fit_hierarchy(checked_trials(k, n, group))
        found = style_posterior(fitted, group, k, n, seen_k=k, seen_n=n)
        for name, p in (
            ("posterior", found.mean),
            ("pooled", np.full(group.size, k.sum() / n.sum())),
            ("naive", np.clip(k / n, 1e-6, 1 - 1e-6)),
        ):
            at = p[item[test]]
            losses[name][test] = -stats.bernoulli.logpmf(click[test], at)
    return losses
