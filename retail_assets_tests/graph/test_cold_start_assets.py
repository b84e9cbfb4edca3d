"""The cold-start assets on a real instance and real Delta tables."""

import csv
from dataclasses import replace
from datetime import date, timedelta
from pathlib import Path

import dagster as dg
import numpy as np
import pandas as pd
import pytest

from retail_assets import runner
from retail_assets.assets import cold_start
from retail_assets.assets.trials import pos_trials
from retail_assets.checks import cold_start_checks
from retail_assets.settings import Settings
from retail_assets.warehouse import Warehouse

FIRST = date(2026, 3, 2)
DAYS = 16
TABLES = (*cold_start.LEARNT, cold_start.TRACK_RECORD)


def retailer(
    home: Path, trials: pd.DataFrame, products: pd.DataFrame, rules: str = ""
) -> Warehouse:
    warehouse = Warehouse(Settings(home=home, landing=home))
    (home / "rules").mkdir(parents=True)
    (home / "rules/cold_start.toml").write_text(rules)
    with warehouse.session() as session:
        session.replace("style_trials", session.connection.from_df(trials))
        session.replace("products", session.connection.from_df(products))
    return warehouse


def learn(warehouse: Warehouse, first: date, last: date, checks: bool = False):
    tags = {
        "dagster/asset_partition_range_start": str(first),
        "dagster/asset_partition_range_end": str(last),
    }
    wanted = [cold_start.learn_cold_start]
    if checks:
        wanted += [
            cold_start_checks.styles_known,
            cold_start_checks.young_styles_without_their_n,
            cold_start_checks.rates_at_rest,
        ]
    with dg.DagsterInstance.ephemeral() as instance:
        return dg.materialize(
            wanted, instance=instance, resources={"warehouse": warehouse}, tags=tags
        )


def rows(warehouse: Warehouse, name: str, where: str = "true") -> pd.DataFrame:
    with warehouse.session() as session:
        return session.sql(f"SELECT * FROM {name} WHERE {where} ORDER BY ALL").df()


def shop(seed: int = 1, drift: float = 0.0) -> tuple[pd.DataFrame, pd.DataFrame]:
    """Twelve styles of two groups; the last one starts late. ``drift``: logit p per day."""
    rng = np.random.default_rng(seed)
    trials, products = [], []
    for style in range(12):
        name, group = f"style_{style:02d}", "dark" if style % 2 else "milk"
        products.append({"product_id": name, "name": name, "category": "bars", "group": group})
        logit = rng.normal(-1.5, 0.4)
        for day in range(9 if style == 11 else 0, DAYS):
            logit += rng.choice([-drift, drift])
            n = int(rng.integers(20, 60))
            k = int(rng.binomial(n, 1 / (1 + np.exp(-logit))))
            when = FIRST + timedelta(days=day)
            trials.append({"product_id": name, "date": when, "n": n, "k": k})
    return pd.DataFrame(trials), pd.DataFrame(products)


def test_a_backfilled_range_equals_having_run_every_day(tmp_path):
    trials, products = shop()
    last = FIRST + timedelta(days=11)
    at_once = retailer(tmp_path / "once", trials, products)
    assert learn(at_once, FIRST, last).success
    # The last four nightly, a style's first day among them, without the trials still to come.
    daily = retailer(tmp_path / "daily", trials, products)
    assert learn(daily, FIRST, FIRST + timedelta(days=7)).success
    for offset in range(8, 12):
        day = FIRST + timedelta(days=offset)
        with daily.session() as session:
            known = trials[trials["date"] <= day]
            session.replace("style_trials", session.connection.from_df(known))
        assert learn(daily, day, day).success
    for name in TABLES:
        whole, one_by_one = rows(at_once, name), rows(daily, name)
        assert len(whole), name
        pd.testing.assert_frame_equal(whole, one_by_one, check_exact=False, rtol=1e-9)


def test_a_new_style_starts_from_its_groups_prior(tmp_path):
    trials, products = shop()
    warehouse = retailer(tmp_path / "home", trials, products)
    products.loc[products["product_id"] == "style_11", "launch_date"] = FIRST + timedelta(days=9)
    with warehouse.session() as session:
        session.replace("products", session.connection.from_df(products))
    assert learn(warehouse, FIRST, FIRST + timedelta(days=DAYS - 1)).success
    found = rows(warehouse, "cold_start_posterior", "product_id = 'style_11'")
    before, after = found[found["n"] == 0], found[found["n"] > 0]
    assert set(before["status"]) == {"prior_only"}
    assert not before["shrink_weight"].any()
    np.testing.assert_allclose(before["p_mean"], before["prior_mean"], rtol=1e-9)
    assert after["p_sd"].iloc[-1] < before["p_sd"].iloc[-1] / 2
    assert after["shrink_weight"].iloc[0] < 0.5 < after["shrink_weight"].iloc[-1]


def test_an_unknown_style_is_named_and_has_any_groups_prior(tmp_path):
    trials, products = shop()
    warehouse = retailer(tmp_path / "home", trials, products[products["product_id"] != "style_03"])
    last = FIRST + timedelta(days=DAYS - 1)
    result = learn(warehouse, last, last, checks=True)
    verdicts = {e.check_name: e for e in result.get_asset_check_evaluations()}
    assert not verdicts["styles_known"].passed
    assert verdicts["styles_known"].metadata["first"].value == ["style_03"]
    found = rows(warehouse, "cold_start_posterior", "product_id = 'style_03'")
    assert found["status"].tolist() == ["unknown_style"]
    assert found["p_sd"].iloc[0] > 0


def test_a_category_that_comes_later_changes_nothing_of_the_days_before(tmp_path):
    trials, products = shop()
    late = products["product_id"].isin(["style_00", "style_02"])
    products.loc[late, ["category", "group"]] = "drinks"
    trials = trials[
        ~trials["product_id"].isin(["style_00", "style_02"])
        | (trials["date"] >= FIRST + timedelta(days=5))
    ]
    day = FIRST + timedelta(days=3)
    backfilled = retailer(tmp_path / "backfilled", trials, products)
    assert learn(backfilled, FIRST, FIRST + timedelta(days=7)).success
    nightly = retailer(tmp_path / "nightly", trials[trials["date"] <= day], products)
    assert learn(nightly, day, day).success
    for name in cold_start.LEARNT:
        then, now = (rows(w, name, f"as_of = '{day}'") for w in (nightly, backfilled))
        pd.testing.assert_frame_equal(then, now, check_exact=False, rtol=1e-9)


def test_attributes_that_repeat_each_other_are_used_once_and_an_unknown_style_does_not_end_them(
    tmp_path,
):
    trials, products = shop()
    cocoa = np.linspace(30, 90, len(products))
    products["attributes"] = [f'{{"cocoa": "{c}", "milk": "{100 - c}"}}' for c in cocoa]
    named = products[products["product_id"] != "style_03"]
    warehouse = retailer(tmp_path / "home", trials, named)
    last = FIRST + timedelta(days=DAYS - 1)
    assert learn(warehouse, last, last).success
    terms = set(rows(warehouse, "cold_start_coefficients")["term"])
    assert "cocoa" in terms
    assert "milk" not in terms


def test_chances_that_nobody_had_are_no_trials(tmp_path):
    trials, products = shop()
    warehouse = retailer(tmp_path / "home", trials.assign(n=0, k=0), products)
    assert learn(warehouse, FIRST, FIRST, checks=True).success
    assert set(rows(warehouse, "cold_start_posterior")["status"]) == {"prior_only"}


def test_a_sale_that_no_stock_span_covers_is_no_trial(tmp_path):
    """Left over after the range, or of a product no fit has seen: k = n would be a rate of 1."""
    warehouse = Warehouse(Settings(home=tmp_path, landing=tmp_path))
    opens = pd.Timestamp(FIRST, tz="UTC") + pd.Timedelta(hours=9)
    later = opens + pd.Timedelta(hours=9)

    def span(product: str, until: pd.Timestamp) -> dict:
        return {
            "category": "bars", "store_id": "s", "product_id": product, "start_ts": opens,
            "end_ts": until, "n_intervals": 1, "p_out_mean": 0.1, "p_out_start": 0.1,
            "p_out_end": 0.1, "status": "in_stock", "method": "hmm", "low_power": False,
            "as_of": FIRST,
        }  # fmt: skip

    lines = [
        {"transaction_id": f"{product}{hour}", "line_number": 1, "store_id": "s", "quantity": 1.0,
         "product_id": product, "sold_at": opens + pd.Timedelta(hours=hour), "unit_price": 1,
         "business_date": FIRST, "category": "bars", "net_amount": 1, "line_type": "sale",
         "source_file": "f", "source_row": row}
        for row, (product, hour) in enumerate(
            [("ranged", 1), ("ranged", 5), ("delisted", 1), ("delisted", 5), ("unfitted", 2)])
    ]  # fmt: skip
    hours = {
        "store_id": "s", "business_date": FIRST, "open_at": opens, "close_at": later,
        "n_intervals": 36, "grain_minutes": 15, "source": "hours",
    }  # fmt: skip
    products = [
        {"product_id": p, "name": p, "category": "bars"} for p in ("ranged", "delisted", "unfitted")
    ]
    with warehouse.session() as session:
        spans = [span("ranged", later), span("delisted", opens + pd.Timedelta(hours=3))]
        for name, frame, scope in (
            ("products", products, None),
            ("inventory_status", spans, "bars"),
            ("trading_days", [hours], (FIRST, FIRST)),
            ("pos_lines", lines, (FIRST, FIRST)),
        ):
            session.replace(name, session.connection.from_df(pd.DataFrame(frame)), scope)
    with warehouse.session() as session:
        found = pos_trials(session, (FIRST, FIRST)).fetchall()
    # Five receipts of the category; three of them in the delisted bar's first three hours.
    assert {(product, n, k) for product, _, _, n, k in found} == {
        ("ranged", 5, 2), ("delisted", 3, 1),
    }  # fmt: skip


def test_new_trials_ask_for_every_day_since_the_last_known_one(tmp_path):
    trials, products = shop()
    strange = trials.iloc[:2].assign(date=[FIRST - timedelta(days=400), date(2999, 1, 1)])
    warehouse = retailer(tmp_path / "home", pd.concat([trials, strange]), products)
    job = runner._Run.__new__(runner._Run)
    job.warehouse, job.force = Warehouse(replace(warehouse.settings, first_day=FIRST)), False
    last = FIRST + timedelta(days=DAYS - 1)
    assert job._days_to_know([]) == [(FIRST, last)]
    known = FIRST + timedelta(days=5)
    assert learn(warehouse, FIRST, known).success
    assert job._days_to_know([]) == [(known + timedelta(days=1), last)]
    changed = FIRST + timedelta(days=2)
    assert job._days_to_know([(changed, changed)]) == [(changed, last)]


@pytest.mark.parametrize(("policy", "passes"), [("none", True), ("current", False)])
def test_the_check_forbids_a_young_style_its_own_n(tmp_path, policy, passes):
    trials, products = shop()
    warehouse = retailer(
        tmp_path / "home", trials, products, f'n_for_prior = "{policy}"\nyoung_days = 10\n'
    )
    last = FIRST + timedelta(days=DAYS - 1)
    result = learn(warehouse, last, last, checks=True)
    verdicts = {e.check_name: e.passed for e in result.get_asset_check_evaluations()}
    assert verdicts["young_styles_without_their_n"] is passes
    coefficients = rows(warehouse, "cold_start_coefficients")["term"].tolist()
    assert ("log_n" in coefficients) is not passes


@pytest.mark.parametrize(("drift", "passes"), [(0.0, True), (0.5, False)])
def test_drifting_rates_are_told_from_rates_at_rest(tmp_path, drift, passes):
    trials, products = shop(drift=drift)
    warehouse = retailer(tmp_path / "home", trials, products)
    result = learn(warehouse, FIRST, FIRST + timedelta(days=DAYS - 1), checks=True)
    verdicts = {e.check_name: e.passed for e in result.get_asset_check_evaluations()}
    assert verdicts["rates_at_rest"] is passes


def test_a_wrong_rule_names_the_file_and_the_entry(tmp_path):
    trials, products = shop()
    warehouse = retailer(tmp_path / "home", trials, products, 'n_for_prior = "mine"\n')
    with pytest.raises(Exception, match=r"cold_start\.toml: n_for_prior = 'mine'"):
        learn(warehouse, FIRST, FIRST)


def test_batting_averages_through_the_assets_give_the_published_regression(tmp_path, public_data):
    """Robinson (2017), beta-binomial regression: -1.688, 0.192 and log sigma -6.299."""
    with (public_data / "lah.csv").open() as file:
        players = [(int(row["H"]), int(row["AB"])) for row in csv.DictReader(file)]
    hits, at_bats = np.array(players).T
    names = [f"player_{at:05d}" for at in range(len(hits))]
    trials = pd.DataFrame({"product_id": names, "date": FIRST, "n": at_bats, "k": hits})
    attributes = [f'{{"log10_ab": "{x:.17g}"}}' for x in np.log10(at_bats)]
    products = pd.DataFrame(
        {"product_id": names, "name": names, "category": "batters", "attributes": attributes}
    )
    warehouse = retailer(tmp_path / "home", trials, products)
    assert learn(warehouse, FIRST, FIRST).success
    found = rows(warehouse, "cold_start_coefficients").set_index("term")["estimate"]
    assert [round(found[t], 3) for t in ("intercept", "log10_ab", "log_sigma")] == [
        -1.688, 0.192, -6.299,
    ]  # fmt: skip
    posterior = rows(warehouse, "cold_start_posterior")
    assert len(posterior) == len(names)
    # A rookie's average is pulled to the prior, a veteran's hardly: Robinson's point.
    shrink = posterior.set_index("product_id")["shrink_weight"]
    assert shrink[names[int(np.argmin(at_bats))]] < 0.05
    assert shrink[names[int(np.argmax(at_bats))]] > 0.9
