"""What the whole chain is worth: a retailer decides half a year by its own till.

Each world (`chain_worlds`) is a retailer that trades half a year under its own policy. From
what its till, deliveries, shelves and price calendar show, every arm (`chain_arms`) decides
the second half: shelves, levels, the prices of six sales, and one new item after four weeks.
The same customers then come to all arms, thinned by each arm's prices. Profit is revenue less
purchases and holding, with left-overs at their salvage value (`chain_replay`).

The clairvoyant hands the truth to the same optimisers. It is no upper bound: what the
optimisers leave out of account costs it as much as anybody.
"""

from __future__ import annotations

import multiprocessing
from collections.abc import Callable
from concurrent.futures import ProcessPoolExecutor

import numpy as np
from scipy import stats

from bench import Row, at_least
from bench.chain_arms import (
    ARMS,
    CLAIRVOYANT,
    CURRENT,
    LINKS,
    PLATFORM,
    REGULAR,
    TOLD,
    Outcome,
    live,
)
from bench.chain_replay import Books
from bench.chain_worlds import PRESETS, Floats

PROCESSES = 2
CHOCOLATE = PRESETS[0]
DRAWS = 10_000


def run(*, quick: bool, large: bool) -> list[Row]:
    """The bench's table; ``large`` lives through 50 worlds of every preset."""
    count = dict.fromkeys(PRESETS, 2 if quick else 50 if large else 4)
    if not quick and not large:
        count[CHOCOLATE] = 12
    asked = [(preset, seed) for preset in PRESETS for seed in range(count[preset])]
    # Spawned, not forked: JAX has threads of its own.
    context = multiprocessing.get_context("spawn")
    with ProcessPoolExecutor(PROCESSES, mp_context=context) as pool:
        found = list(pool.map(live, *zip(*asked, strict=True)))
    rows = []
    for preset in PRESETS:
        own = [out for (name, _), out in zip(asked, found, strict=True) if name == preset]
        rows += preset_rows(preset, own)
    return rows


def preset_rows(preset: str, worlds: list[Outcome]) -> list[Row]:
    """All figures of one preset; intervals are over its worlds, pairs of arms in the same one."""
    now, best, ours = (_profit(worlds, arm) for arm in (CURRENT, CLAIRVOYANT, PLATFORM))
    what = "profit; customers lost, waste, markdowns"
    rows = [
        Row(
            f"{preset}, {len(worlds)} worlds, EUR: current policy ({what})",
            f"{now.mean():,.0f}; {_beside(worlds, CURRENT)}",
        )
    ]
    for arm in ARMS:
        gain = _interval(_profit(worlds, arm) - now)
        rows.append(Row(f"  {arm} - current", f"{gain}; {_beside(worlds, arm)}"))
    rows += _gap_rows(preset, now, ours, best)
    for link in LINKS:
        worth = ours - _profit(worlds, f"without {link}")
        rows.append(Row(f"  {preset}: {link} is worth", _interval(worth)))
    against = ours - _profit(worlds, REGULAR)
    rows.append(Row(f"  {preset}: price optimiser over no discount", _interval(against)))
    for part in TOLD:
        more = _profit(worlds, f"told {part}") - ours
        rows.append(Row(f"  {preset}: the truth about {part} would add", _interval(more)))
    told = float(np.mean([out.identified for out in worlds]))
    rows.append(Row("  worlds in which past prices told their effect, share", told))
    rows.append(Row("  CPU s a world", float(np.mean([out.seconds for out in worlds]))))
    return rows


def _gap_rows(preset: str, now: Floats, ours: Floats, best: Floats) -> list[Row]:
    share = float((ours - now).sum() / (best - now).sum())
    again = np.random.default_rng(0).integers(0, len(now), (DRAWS, len(now)))
    shares = (ours - now)[again].sum(axis=1) / (best - now)[again].sum(axis=1)
    low, high = np.quantile(shares, [0.025, 0.975])
    metric = f"  {preset}: share of the gap current -> clairvoyant closed"
    if preset == CHOCOLATE:
        rows = [at_least(metric, share, 0.5)]
    else:
        upper = _ends(ours - now)[1]
        rows = [
            Row(metric, share),
            at_least(f"  {preset}: upper end of platform - current, EUR", upper, 0.0),
        ]
    return [*rows, Row("    its 95 % bootstrap interval", f"{low:.2f} .. {high:.2f}")]


def _profit(worlds: list[Outcome], arm: str) -> Floats:
    """(W,) EUR."""
    return _each(worlds, arm, lambda books: books.profit / 100)


def _beside(worlds: list[Outcome], arm: str) -> str:
    lost = _each(worlds, arm, lambda books: books.lost / books.customers).mean()
    waste, markdown = (
        _each(worlds, arm, money).mean() / 100
        for money in (lambda books: books.waste, lambda books: books.markdown)
    )
    return f"{lost:.1%}, {waste:,.0f}, {markdown:,.0f}"


def _each(worlds: list[Outcome], arm: str, figure: Callable[[Books], float]) -> Floats:
    return np.array([figure(out.books[arm]) for out in worlds])


def _ends(value: Floats) -> tuple[float, float]:
    """95 % interval of the mean, Student's t."""
    half = stats.t.ppf(0.975, len(value) - 1) * value.std(ddof=1) / np.sqrt(len(value))
    return float(value.mean() - half), float(value.mean() + half)


def _interval(value: Floats) -> str:
    if not value.any():
        return "0: nothing"
    low, high = _ends(value)
    unsure = ", not told from 0" if low <= 0 <= high else ""
    return f"{value.mean():+,.0f} [{low:+,.0f}, {high:+,.0f}]{unsure}"
