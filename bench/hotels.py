"""Five hotels: the Markov chain against the logit, on bookings neither has seen.

Companion data of Berbeglia, Garassino & Vulcano: what each customer was offered and booked,
already split. Both models, and how strongly the chain is pulled to the logit, come from the
in-sample customers alone; the others are looked at once.
"""

from __future__ import annotations

import json
import time
import zipfile
from pathlib import Path
from typing import Any

from bench import Row, at_least
from retail_assets.models.choice.offer_sets import OfferSets, fit_chain, fit_mnl, log_likelihood

HOTELS = Path(__file__).parents[1].parent / "shared" / "data" / "hotel_choice_instances.zip"
INSTANCES = (1, 2, 3, 4, 5)
SMALL = (4, 5)
NO_PURCHASE = 0


def rows(*, quick: bool) -> list[Row]:
    """Both log-likelihoods per hotel, and the two targets; ``quick`` reads the two smallest."""
    if not HOTELS.exists():
        return [Row("hotels", "not measured: ../shared/data is absent")]
    found, gains, started = list[Row](), list[float](), time.process_time()
    for instance in SMALL if quick else INSTANCES:
        table, gain = _compare(instance)
        found += table
        gains.append(gain)
    found.append(at_least("hotels: chain over logit, the worst, %", min(gains), -0.1))
    better = sum(gain > 0 for gain in gains)
    if quick:
        found.append(Row("hotels: chain better than the logit", f"{better} of {len(gains)}"))
    else:
        found.append(at_least("hotels: chain better than the logit, of 5", better, 3))
    return [*found, Row("hotels: seconds", time.process_time() - started)]


def hotel(instance: int) -> tuple[OfferSets, OfferSets]:
    """Customers in sample and out of sample."""
    with zipfile.ZipFile(HOTELS) as archive:
        told = json.loads(archive.read(f"hotel/instance_{instance}.json"))
    rooms = [product for product in told["products"] if product != NO_PURCHASE]
    both = told["transactions"]
    return (
        _offer_sets(both["in_sample_transactions"], rooms),
        _offer_sets(both["out_of_sample_transactions"], rooms),
    )


def _offer_sets(transactions: list[dict[str, Any]], rooms: list[int]) -> OfferSets:
    offered = [set(each["offered_products"]) - {NO_PURCHASE} for each in transactions]
    booked = [each["product"] for each in transactions]
    chosen = [None if product == NO_PURCHASE else product for product in booked]
    return OfferSets.from_transactions(offered, chosen, rooms)


def _compare(instance: int) -> tuple[list[Row], float]:
    """The hotel's rows, and the chain's gain over the logit in % of its log-likelihood."""
    past, later = hotel(instance)
    logit, chain = fit_mnl(past), fit_chain(past)
    under_logit = log_likelihood(later, *logit.chain())
    under_chain = log_likelihood(later, chain.first_choice, chain.substitution_rate)
    gain = 100 * (under_chain - under_logit) / abs(under_logit)
    weakest = min(chain.held_out)
    strongest = max(chain.held_out)
    name = f"hotel {instance}"
    return [
        Row(f"{name}: pseudo-customers chosen in sample", f"{chain.shrinkage:g}"),
        Row(
            f"{name}: offer sets left out, {weakest:g} pseudo-customers over logit",
            chain.held_out[weakest] - chain.held_out[strongest],
        ),
        Row(f"{name}: log-likelihood out of sample, logit", f"{under_logit:.2f}"),
        Row(f"{name}: log-likelihood out of sample, chain", f"{under_chain:.2f}"),
        Row(f"{name}: chain over logit out of sample, %", f"{gain:+.3f}"),
    ], gain
