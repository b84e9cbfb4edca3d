"""What products of one store learn from each other's delivery rhythm: one van serves many."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass
from operator import attrgetter

from retail_assets.models.stockouts import hidden_markov as hmm
from retail_assets.models.stockouts.rhythm import WEEK, Rhythm
from retail_assets.models.stockouts.soft_spans import SoftSpans

# Share of the time out of stock below which no outage was seen.
NEGLIGIBLE_SHARE = 0.001


@dataclass(frozen=True)
class Found:
    """What is kept of a learned rhythm; its (T,) arrays are not, there may be 1,000."""

    rhythm: Rhythm
    params: hmm.HmmParams
    soft: SoftSpans
    score: float
    share_out: float


def commonest(found: list[Found]) -> Found | None:
    """Of the rhythms of the period that most products share, the one of median share out."""
    periods = Counter(own.rhythm.period for own in found).most_common(1)
    if not periods or periods[0][1] < 2:
        return None
    same = [own for own in found if own.rhythm.period == periods[0][0]]
    return sorted(same, key=attrgetter("share_out"))[len(same) // 2]


def start_like(other: Found, series: hmm.Series, plain: hmm.HmmFit) -> hmm.HmmFit:
    """A start for a product that shows no outage by itself: out as long as ``other`` a cycle.

    Few sales a cycle (6 of 20) leave the plain model no outage to find, or several modes
    of equal likelihood; on the van's schedule the likelihood rises by thousands.
    """
    share, period = other.share_out, other.rhythm.period
    if plain.smoothed.share_out > NEGLIGIBLE_SHARE or period == WEEK:
        return plain
    rate = plain.params.arrival_rate / (1.0 - share)
    sold = max(rate * (1.0 - share) * period, 2.0)
    params = hmm.HmmParams(
        rate, (1.0 / sold,), 0.0, (min(1.0 / (share * period), 0.5),), initial_out=share
    )
    return hmm.HmmFit(params, hmm.smooth(series, params), True)
