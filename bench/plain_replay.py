"""The customer loop as anyone would write it in plain Python: interval by interval.

The independent twin of `retail_assets.models.choice.replay`: the tests ask for equal
results, the bench for the difference in speed. Shares no code with it.
"""

from __future__ import annotations

from typing import Any


def plain_replay(
    intervals: list[int],
    choices: list[list[int]],
    units: list[int],
    initial_stock: list[int],
    n_intervals: int,
    reviews: list[dict[int, int]] | None = None,
    order_up_to: list[int] | None = None,
    reorder_point: list[int] | None = None,
    shrinkage: list[tuple[int, int, int]] | None = None,
    forced_out: list[list[tuple[int, int]]] | None = None,
) -> dict[str, Any]:
    """One horizon. ``reviews[product]`` maps interval of review to interval of arrival."""
    n = len(initial_stock)
    stock = list(initial_stock)
    pipeline: list[list[tuple[int, int]]] = [[] for _ in range(n)]
    reviews = reviews or [{} for _ in range(n)]
    forced_out = forced_out or [[] for _ in range(n)]
    names = ["first_choice", "sales", "substituted_in", "substituted_out", "lost"]
    names += ["sold_units", "substituted_units", "out_intervals"]
    totals = {name: [0] * n for name in names}
    outcome, taken, out_at_start, ran_out = [], [], [], []
    customer = 0
    for t in range(n_intervals):
        for j in range(n):
            stock[j] += sum(quantity for due, quantity in pipeline[j] if due == t)
            pipeline[j] = [order for order in pipeline[j] if order[0] > t]
        for when, j, gone in shrinkage or []:
            if when == t:
                stock[j] = max(0, stock[j] - gone)
        for j in range(n):
            if t not in reviews[j]:
                continue
            due = reviews[j][t]
            position = stock[j] + sum(quantity for _, quantity in pipeline[j])
            if position <= reorder_point[j] and position < order_up_to[j]:
                if due == t:
                    stock[j] += order_up_to[j] - position
                else:
                    pipeline[j].append((due, order_up_to[j] - position))
        kept_back = [any(a <= t < b for a, b in forced_out[j]) for j in range(n)]
        for j in range(n):
            if stock[j] == 0 or kept_back[j]:
                out_at_start.append((t, j))
                totals["out_intervals"][j] += 1
        while customer < len(intervals) and intervals[customer] == t:
            wishes = [j for j in choices[customer] if j >= 0]
            buys = next((j for j in wishes if stock[j] > 0 and not kept_back[j]), -1)
            took = min(stock[buys], units[customer]) if buys >= 0 else 0
            if wishes:
                totals["first_choice"][wishes[0]] += 1
                if buys < 0:
                    totals["lost"][wishes[0]] += 1
                elif buys != wishes[0]:
                    totals["substituted_out"][wishes[0]] += 1
                    totals["substituted_in"][buys] += 1
                    totals["substituted_units"][buys] += took
            if buys >= 0:
                totals["sales"][buys] += 1
                totals["sold_units"][buys] += took
                stock[buys] -= took
                if stock[buys] == 0:
                    ran_out.append((t, buys))
            outcome.append(buys)
            taken.append(took)
            customer += 1
    return totals | {
        "outcome": outcome,
        "taken_units": taken,
        "out_at_start": out_at_start,
        "ran_out": ran_out,
    }


def plain_season(choices: list[list[int]], initial_stock: list[int]) -> list[int]:
    """Units sold of each product in one season of one-unit customers; nothing else."""
    stock = list(initial_stock)
    for wishes in choices:
        for product in wishes:
            if product < 0:
                break
            if stock[product] > 0:
                stock[product] -= 1
                break
    return [was - left for was, left in zip(initial_stock, stock, strict=True)]
