"""What people are told when no prices fit, and when the input is wrong."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from retail_assets.models.pricing.candidates import Candidates
from retail_assets.models.pricing.explain import explain
from retail_assets.models.pricing.optimise import optimise
from retail_assets.models.pricing.program import NoLegalPriceError
from retail_assets.models.pricing.sale_rules import SaleRules


def two_items(**changed: Any) -> Candidates:
    """Each item: 5 sells 10 of 10, 9 sells 4; cost 4. The total does not matter."""
    given: dict[str, Any] = {
        "products": ("bar", "drops"),
        "units_available": np.array([10, 10]),
        "cost_cents": np.array([4, 4]),
        "item": np.array([0, 0, 1, 1]),
        "price_cents": np.array([5, 9, 5, 9]),
        "total_from_cents": np.full(4, 0),
        "total_to_cents": np.full(4, 99),
        "demand": np.array([10.0, 4.0, 10.0, 4.0]),
        "prior_price_cents": np.array([9, 9]),
    }
    return Candidates(**(given | changed))


def test_an_item_without_a_legal_price_is_named_with_its_nearest_price_and_rules() -> None:
    sale = two_items(broken=np.array([0, 0, 0b11, 0b10]), rules=("min_discount", "exit_diff"))
    with pytest.raises(NoLegalPriceError, match="drops"):
        optimise(sale, "revenue")
    told = explain(sale)
    assert [b.product for b in told.items] == ["drops"]
    assert told.items[0].nearest_price_cents == 9
    assert told.items[0].rules == ("exit_diff",)
    assert told.message() == "drops: no legal price; nearest 9 cents, blocked by exit_diff"


def test_a_conflict_names_only_the_rules_that_are_needed_for_it() -> None:
    rules = SaleRules(
        same_price=[(0, 1)], max_changes=2, min_margin_pct=50.0, min_sell_through_pct=95.0
    )
    with pytest.raises(NoLegalPriceError, match="contradict"):
        optimise(two_items(), "revenue", rules=rules)
    conflict = explain(two_items(), rules).conflict
    assert conflict is not None
    assert conflict.rules == ("min_margin_pct", "min_sell_through_pct")
    # all at 5: margin 1 of 5; all at 9: 8 units of 20
    assert conflict.attainable["min_margin_pct"] == pytest.approx(20.0)
    assert conflict.attainable["min_sell_through_pct"] == pytest.approx(40.0)


def test_a_rule_that_cannot_be_met_alone_is_a_conflict_of_one() -> None:
    rules = SaleRules(min_margin_pct=60.0, max_changes=0)
    with pytest.raises(NoLegalPriceError, match="min_margin_pct"):
        optimise(two_items(), "revenue", rules=rules)
    conflict = explain(two_items(), rules).conflict
    assert conflict is not None
    assert conflict.rules == ("min_margin_pct",)


def test_rules_of_candidates_and_of_the_sale_can_conflict() -> None:
    sale = two_items(broken=np.array([0, 1, 0, 1]), rules=("discount",))
    conflict = explain(sale, SaleRules(max_changes=1)).conflict
    assert conflict is not None
    assert conflict.rules == ("discount", "max_changes")
    assert conflict.attainable == {"max_changes": 2.0}


def test_prices_legal_only_at_totals_they_never_sum_to_are_a_conflict() -> None:
    sale = two_items(
        item=np.array([0, 0, 1]),
        price_cents=np.array([5, 5, 5]),
        total_from_cents=np.array([0, 10, 0]),
        total_to_cents=np.array([9, 99, 99]),
        demand=np.full(3, 1.0),
        broken=np.array([0, 1, 0]),
        rules=("sell_through",),
    )
    with pytest.raises(NoLegalPriceError):
        optimise(sale, "revenue")
    conflict = explain(sale).conflict
    assert conflict is not None
    assert conflict.rules == ("sell_through",)


def test_a_sale_with_prices_needs_no_explanation() -> None:
    told = explain(two_items(), SaleRules(max_changes=1))
    assert told.feasible
    assert told.message() == ""


@pytest.mark.parametrize(
    ("changed", "message"),
    [
        ({"price_cents": np.array([5, 9, 0, 9])}, "drops at 0 cents: a price must be above"),
        ({"price_cents": np.array([5, 9, -1, 9])}, "drops at -1 cents: a price must be above"),
        ({"price_cents": np.array([5, 5, 5, 9])}, "bar at 5 cents: two rows of one price overlap"),
        ({"demand": np.array([1.0, np.nan, 1, 1])}, "bar at 9 cents: demand is missing"),
        ({"cost_cents": np.array([4, -1])}, "drops: cost is missing"),
        ({"units_available": np.array([0, 1])}, "bar: nothing available"),
        ({"item": np.zeros(4, int), "price_cents": np.arange(1, 5)}, "drops: no candidate price"),
    ],
)
def test_bad_input_is_refused_with_its_product(changed: dict[str, Any], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        two_items(**changed)


def test_rules_that_name_no_item_or_lack_prior_prices_are_refused() -> None:
    with pytest.raises(ValueError, match="names item 7"):
        optimise(two_items(), "revenue", rules=SaleRules(same_price=[(0, 7)]))
    sale = two_items(prior_price_cents=None)
    with pytest.raises(ValueError, match="prior_price_cents"):
        optimise(sale, "revenue", rules=SaleRules(max_changes=1))
    with pytest.raises(ValueError, match="weights"):
        optimise(two_items(), "weighted", weights=(0.0, 0.0, 0.0))
