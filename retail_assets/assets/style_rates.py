"""Draws of P(chosen), restored from the tables of the cold start: nothing is fitted again."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import date

import numpy as np
from numpy.typing import NDArray

from retail_assets.warehouse import Session

_NODES = """
SELECT group_id, mu, sigma, weight FROM cold_start_priors
WHERE source = $source AND as_of = $as_of AND node > 0 ORDER BY group_id, node
"""
_STYLES = """
SELECT product_id, group_id, n, k, prior_offset, days_known FROM cold_start_posterior
WHERE source = $source AND as_of = $as_of ORDER BY product_id
"""
_FORGETTING = """
SELECT estimate FROM cold_start_coefficients
WHERE source = $source AND as_of = $as_of AND term = 'forgetting'
"""
_SIZES = """
SELECT style_id, list(product_id ORDER BY product_id) FROM products
WHERE style_id IS NOT NULL GROUP BY 1
"""


@dataclass(frozen=True)
class StyleRates:
    """What each style's posterior rests on, as of the last day known to one source.

    Parameters
    ----------
    row : mapping of product to its row
    alpha, beta, weight : (m, nodes) float64
        Posterior mixture.
    sizes : mapping of style to its products
    """

    as_of: date | None
    row: dict[str, int]
    alpha: NDArray[np.float64]
    beta: NDArray[np.float64]
    weight: NDArray[np.float64]
    sizes: dict[str, list[str]]

    def products(self, name: str) -> list[str]:
        """A product itself, or the sizes of a style, as far as anything is known of them."""
        if name in self.row:
            return [name]
        return [size for size in self.sizes.get(name, ()) if size in self.row]

    def draws(self, name: str, n_paths: int, seed: int) -> NDArray[np.float64]:
        """(n_paths,) draws of P(chosen): of a style, the sum over its sizes."""
        from retail_assets.models.inventory.demand import rate_draws

        at = [self.row[each] for each in self.products(name)]
        parts = rate_draws(self.alpha[at], self.beta[at], self.weight[at], n_paths, seed=seed)
        total: NDArray[np.float64] = np.minimum(parts.sum(axis=0), 1.0)
        return total


def load_rates(session: Session, source: str) -> StyleRates:
    """The latest posteriors of a source; none where it has no trials."""
    from retail_assets.models.cold_start.mixture import BetaMixture

    as_of = session.sql(
        "SELECT max(as_of) FROM cold_start_posterior WHERE source = $source", {"source": source}
    ).fetchall()[0][0]
    sizes = dict(session.sql(_SIZES).fetchall())
    if as_of is None:
        nothing = np.empty((0, 1))
        return StyleRates(None, {}, nothing, nothing, nothing, sizes)
    asked = {"source": source, "as_of": as_of}
    nodes: dict[str, list[tuple[float, float, float]]] = {}
    for group, *node in session.sql(_NODES, asked).fetchall():
        nodes.setdefault(group, []).append(tuple(node))
    most = max(len(each) for each in nodes.values())
    styles = session.sql(_STYLES, asked).fetchall()
    mu, sigma, weight = (np.full((len(styles), most), fill) for fill in (0.5, 1.0, 0.0))
    for at, (_, group, *_) in enumerate(styles):
        # A style outside every known group has the prior of any group: the last one.
        own = np.array(nodes.get(group, nodes[max(nodes, key=lambda g: g == "(any other)")]))
        mu[at, : len(own)], sigma[at, : len(own)], weight[at, : len(own)] = own.T
    n, k, offset, age = (np.array([row[at] for row in styles], np.float64) for at in (2, 3, 4, 5))
    odds = mu / (1 - mu) * np.exp(offset)[:, None]
    mean = odds / (1 + odds)
    weight /= weight.sum(axis=1, keepdims=True)
    prior = BetaMixture(mean / sigma, (1 - mean) / sigma, weight)
    # A prior forgets as its style's trials do: `known_on` aged it, so must whoever restores it.
    forgetting = session.sql(_FORGETTING, asked).fetchall()[0][0]
    prior = prior.aged(forgetting ** np.maximum(age - 1, 0))
    posterior = prior.updated(k, n, seen_k=k, seen_n=n)
    names = {row[0]: at for at, row in enumerate(styles)}
    return StyleRates(as_of, names, posterior.alpha, posterior.beta, posterior.weight, sizes)
