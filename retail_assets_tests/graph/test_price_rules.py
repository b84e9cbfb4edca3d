"""The decision table in DuckDB agrees with walking down its rows; unknowns are never legal."""

from __future__ import annotations

import random
from collections.abc import Iterator
from fractions import Fraction
from pathlib import Path

import pandas as pd
import pytest
from openpyxl import Workbook

from bench import pricing_rules
from retail_assets.assets import price_rules
from retail_assets.errors import ModelError, SettingsError
from retail_assets.models.pricing.decision_table import DecisionTable, csv_rows, parse
from retail_assets.models.pricing.goals import PricingGoals, parse_goals
from retail_assets.models.pricing.sale_rules import SaleRules
from retail_assets.settings import Settings
from retail_assets.warehouse import Session, Warehouse

HEADER = ["rule_id", "exposures_op", "exposures_value", "variable", "op", "value"]
SHIPPED = Path(__file__).parents[2] / "data"
ITEM = {
    "product_id": "bar", "exposures": 0, "msrp_cents": 500, "original_price_cents": 500,
    "unit_cost_cents": 200, "sell_through": 0.5,
}  # fmt: skip


def table_of(*rows: str) -> DecisionTable:
    return parse(csv_rows("\n".join([",".join(HEADER), *rows]).encode()))


@pytest.fixture
def session(tmp_path: Path) -> Iterator[Session]:
    with Warehouse(Settings(home=tmp_path, landing=tmp_path)).session() as opened:
        yield opened


def candidates(session: Session, rows: list[dict]) -> None:
    session.connection.register("given", pd.DataFrame(rows))
    session.execute("CREATE OR REPLACE TEMP TABLE candidates AS FROM given")


def judge(session: Session, table: DecisionTable, prices: list[int], **changes) -> list[list[str]]:
    candidates(session, [ITEM | changes | {"price_cents": price} for price in prices])
    judged = price_rules.evaluate(session, table, "candidates").order("price_cents")
    found = judged.project("broken_rules, legal").fetchall()
    assert all(legal == (not broken) for broken, legal in found)
    return [broken for broken, _ in found]


def test_the_sources_rules_agree_with_exact_fractions_on_random_candidates(session: Session):
    pricing_rules.random_candidates(session, 4_000, distinct=400)
    judged = price_rules.evaluate(session, pricing_rules.source_table(), "candidates")
    lines = [dict(zip(judged.columns, line, strict=True)) for line in judged.fetchall()]
    assert len(lines) == 4_000
    for line in lines:
        assert line["broken_rules"] == pricing_rules.broken_by_hand(line)
    assert {bool(line["broken_rules"]) for line in lines} == {True, False}


@pytest.mark.parametrize("seed", range(12))
def test_random_tables_agree_with_plain_python(session: Session, seed: int):
    """Every operator and variable, limits that prices hit exactly, under `override`."""
    rng = random.Random(seed)
    rows, spans = [], []
    for at in range(12):
        low = rng.randint(0, 5)
        exposures, covers = rng.choice(
            [
                (f">=,{low}", lambda e, low=low: e >= low),
                (f"between,{low}..{low + 2}", lambda e, low=low: low <= e <= low + 2),
                (",", lambda e: True),
            ]
        )
        variable = rng.choice(list(MEASURED))
        op = rng.choice([">=", "<=", "="]) if at % 3 == 0 else rng.choice([">=", "<="])
        # Limits from below stay under those from above, so that no two contradict each other.
        value = {">=": rng.randint(1, 30), "<=": rng.randint(40, 100), "=": 35}[op]
        rows.append(f"r{at},{exposures},{variable},{op},{value}")
        spans.append((f"r{at}", covers, variable, op, value))
    items = [
        ITEM
        | {"exposures": rng.randint(0, 8), "msrp_cents": rng.choice([400, 500]),
           "original_price_cents": rng.choice([300, 400, 500]), "unit_cost_cents": 20 * k,
           "sell_through": k / 20, "price_cents": 20 * rng.randint(1, 25)}
        for k in range(1, 20)
    ]  # fmt: skip
    candidates(session, items)
    judged = price_rules.evaluate(session, table_of(*rows), "candidates")
    for line in (dict(zip(judged.columns, row, strict=True)) for row in judged.fetchall()):
        wins: dict[tuple[str, str], tuple] = {}
        for rule in spans:
            if rule[1](line["exposures"]):
                for side in {"=": ">= <=", ">=": ">=", "<=": "<="}[rule[3]].split():
                    wins[rule[2], side] = rule
        broken = {
            rule[0]
            for (variable, side), rule in wins.items()
            if (
                MEASURED[variable](line) < rule[4]
                if side == ">="
                else MEASURED[variable](line) > rule[4]
            )
        }
        assert set(line["broken_rules"]) == broken
        assert line["broken_rules"] == sorted(broken, key=lambda rule_id: int(rule_id[1:]))


MEASURED = {
    "discount_from_msrp_pct": lambda r: Fraction(
        100 * (r["msrp_cents"] - r["price_cents"]), r["msrp_cents"]
    ),
    "difference_from_original_pct": lambda r: Fraction(
        100 * abs(r["price_cents"] - r["original_price_cents"]), r["original_price_cents"]
    ),
    "margin_pct": lambda r: Fraction(
        100 * (r["price_cents"] - r["unit_cost_cents"]), r["price_cents"]
    ),
    "sell_through_pct": lambda r: 5 * round(20 * r["sell_through"]),
    "price_cents": lambda r: r["price_cents"],
}


def test_prices_of_the_wrong_form_are_barred(session: Session):
    table = table_of(
        "ends,=,0,price_ending,in,.99;95", "tens,=,1,price_ladder,in,step 0.10",
        "list,>=,2,price_ladder,in,2.50;2.99", "low,any,,price_cents,>=,200",
    )  # fmt: skip
    prices = [150, 199, 250, 295, 299]
    assert judge(session, table, prices) == [["ends", "low"], ["low"], ["ends"], [], []]
    assert judge(session, table, prices, exposures=1) == [
        ["low"], ["tens", "low"], [], ["tens"], ["tens"],
    ]  # fmt: skip
    assert judge(session, table, prices, exposures=7) == [
        ["list", "low"], ["list", "low"], [], ["list"], [],
    ]  # fmt: skip


def test_a_price_exactly_at_a_limit_is_legal(session: Session):
    # 20 % off 3.20 is exactly 2.56; 1 - 2.56 / 3.20 in floating point is below .2
    table = table_of("off,any,,discount_from_msrp_pct,>=,20")
    assert 1 - 256 / 320 < 0.2
    assert judge(session, table, [256, 257], msrp_cents=320) == [[], ["off"]]


def test_rule_ids_are_data_and_never_sql(session: Session):
    rule = "'); DROP TABLE candidates; --"
    table = table_of(f"{rule},any,,margin_pct,>=,90")
    assert judge(session, table, [300]) == [[rule]]
    assert session.sql("FROM candidates").fetchall()
    with pytest.raises(ValueError, match="is not the name of a table"):
        price_rules.evaluate(session, table, 'candidates"; DROP TABLE candidates')


def test_a_flag_column_counts_as_one_more_rule(session: Session):
    candidates(session, [ITEM | {"price_cents": 300, "far": far} for far in (True, False, None)])
    for table in (table_of("m,any,,margin_pct,>=,90"), DecisionTable()):
        judged = price_rules.evaluate(session, table, "candidates", {"extrapolated": "far"})
        own = [decision.rule.rule_id for decision in table.decisions()]
        found = dict(judged.project("far, broken_rules").fetchall())
        assert found == {True: [*own, "extrapolated"], False: own, None: own}


def test_without_rules_everything_is_legal(session: Session):
    candidates(session, [{"product_id": "bar", "price_cents": 300}])
    assert price_rules.evaluate(session, DecisionTable(), "candidates").fetchall() == [
        ("bar", 300, [], True)
    ]


@pytest.mark.parametrize(
    ("column", "bad", "variable"),
    [
        ("msrp_cents", None, "discount_from_msrp_pct"),
        ("msrp_cents", 0, "discount_from_msrp_pct"),
        ("original_price_cents", None, "difference_from_original_pct"),
        ("unit_cost_cents", None, "margin_pct"),
        ("unit_cost_cents", -1, "margin_pct"),
        ("sell_through", None, "sell_through_pct"),
        ("sell_through", float("nan"), "sell_through_pct"),
    ],
)
def test_what_a_rule_cannot_judge_is_an_error_that_names_the_products(
    session: Session, column: str, bad: object, variable: str
):
    rows = [ITEM | {"price_cents": 300, "product_id": "known"}]
    rows += [
        ITEM | {"price_cents": 300, "product_id": f"p{at:02}", column: bad} for at in range(12)
    ]
    candidates(session, rows)
    with pytest.raises(ModelError) as caught:
        price_rules.evaluate(session, table_of(f"floor,any,,{variable},>=,10"), "candidates")
    message = str(caught.value)
    assert message.startswith(f"pricing rules: {column} missing or out of range for p00, p01, ")
    assert "p09 and 2 more, needed by floor; give " in message
    assert "known" not in message
    # A rule that does not decide at these exposures needs nothing.
    table = table_of(f"later,>=,1,{variable},>=,10", f"other,=,0,{variable},>=,10")
    with pytest.raises(ModelError):
        price_rules.evaluate(session, table, "candidates")
    later = table_of(f"later,>=,1,{variable},>=,10")
    assert len(price_rules.evaluate(session, later, "candidates").fetchall()) == 13


@pytest.mark.parametrize("price", [0, -5, None])
def test_a_price_of_zero_is_an_error_even_without_rules(session: Session, price: int | None):
    candidates(session, [ITEM | {"price_cents": price}, ITEM | {"price_cents": 300}])
    with pytest.raises(ModelError, match="price_cents missing or out of range for bar; candidate"):
        price_rules.evaluate(session, DecisionTable(), "candidates")


def test_unknown_exposures_are_an_error_only_where_a_rule_asks_for_them(session: Session):
    candidates(session, [ITEM | {"price_cents": 300, "exposures": None}])
    session.execute("ALTER TABLE candidates ALTER exposures TYPE BIGINT")
    always = table_of("a,any,,margin_pct,>=,10")
    assert price_rules.evaluate(session, always, "candidates").fetchall()[0][-1] is True
    with pytest.raises(ModelError, match=r"exposures missing .* for bar, needed by b; give expos"):
        price_rules.evaluate(session, table_of("b,>=,1,margin_pct,>=,10"), "candidates")


def test_a_missing_column_is_named(session: Session):
    candidates(session, [{"product_id": "bar", "price_cents": 300}])
    with pytest.raises(ValueError, match="no column exposures, msrp_cents, which"):
        price_rules.evaluate(session, table_of("a,=,0,discount_from_msrp_pct,>=,1"), "candidates")


def test_sizes_share_a_price_and_families_keep_their_order(session: Session):
    products = [
        ("s_shirt", "shirt", "tops", 30), ("l_shirt", "shirt", "tops", 30),
        ("polo", "polo", "tops", 40), ("coat", "coat", "tops", None),
        ("sock", "sock", "feet", 5), ("boot", "boot", "feet", 90),
        ("clog", "clog", "feet", 50), ("hat", "hat", None, 20), ("not_in_sale", "hat", "feet", 1),
    ]  # fmt: skip
    frame = pd.DataFrame(products, columns=["product_id", "style_id", "family", "original_price"])
    frame = frame.assign(name="n", category="c", msrp=60.0)
    session.replace("products", session.connection.from_df(frame))
    table = table_of(
        "a,any,,same_price_sizes,=,yes", "b,any,,price_order_family,=,yes",
        "c,any,,max_changes,<=,4", "d,any,,sale_margin_pct,>=,12.5",
        "e,any,,sale_sell_through_pct,>=,40",
    )  # fmt: skip
    sale = ["polo", "s_shirt", "boot", "sock", "coat", "l_shirt", "clog", "hat"]
    found = price_rules.sale_rules(session, table, sale)
    assert [{sale[i] for i in group} for group in found.same_price] == [{"s_shirt", "l_shirt"}]
    chains = [[sale[i] for i in chain] for chain in found.price_order]
    assert ["sock", "clog", "boot"] in chains
    # The shirts cost the same: no order between them, both below the polo; the coat by msrp.
    assert sorted(c for c in chains if "sock" not in c) == [
        ["l_shirt", "polo"], ["polo", "coat"], ["s_shirt", "polo"],
    ]  # fmt: skip
    assert (found.max_changes, found.min_margin_pct, found.min_sell_through_pct) == (4, 12.5, 40.0)
    assert [price_rules.rule_behind(table, part) for part in found.parts()] == list("abbbbcde")
    assert price_rules.sale_rules(session, DecisionTable(), sale) == SaleRules()
    with pytest.raises(ModelError, match="glove not in products"):
        price_rules.sale_rules(session, table, ["hat", "glove"])


def test_the_shipped_rules_load_under_both_hit_policies_and_leave_each_item_a_price():
    settings = Settings(home=SHIPPED, landing=SHIPPED / "landing")
    goals = settings.read_rules("pricing.toml", parse_goals)
    table = price_rules.read_table(settings, goals)
    assert table.warnings == ()
    assert price_rules.read_table(settings, PricingGoals(hit_policy="unique")).rules == table.rules
    items = pd.read_csv(settings.landing / "products.csv").merge(
        pd.read_csv(settings.landing / "sale_events.csv"), on="product_id"
    )
    rows = [
        {"product_id": row.product_id, "price_cents": round(100 * float(price)),
         "exposures": row.exposures, "msrp_cents": round(100 * row.msrp),
         "original_price_cents": round(100 * row.original_price),
         "unit_cost_cents": round(100 * row.unit_cost), "sell_through": 0.1}
        for row in items[items.sale_id == "sale_2026_11"].itertuples()
        for price in row.candidate_prices.split(";")
    ]  # fmt: skip
    with Warehouse(settings).session() as session:
        candidates(session, rows)
        judged = price_rules.evaluate(session, table, "candidates")
        legal = dict(judged.aggregate("product_id, count(*) FILTER (legal)").fetchall())
    assert len(legal) == 5
    assert min(legal.values()) >= 2


def home_with(tmp_path: Path, text: str | None = None, book: list[list] | None = None) -> Settings:
    rules = tmp_path / "rules"
    rules.mkdir()
    if text is not None:
        (rules / "pricing_rules.csv").write_text(text)
    if book is not None:
        workbook = Workbook()
        for row in book:
            workbook.active.append(row)
        workbook.save(rules / "pricing_rules.xlsx")
    return Settings(home=tmp_path, landing=tmp_path)


ROWS = [
    ["# a note"],
    HEADER,
    ["floor", ">=", "10", "margin_pct", ">=", "30"],
    ["off", "=", "0", "discount_from_msrp_pct", "=", "12.5"],
    ["ends", "any", "", "price_ending", "in", "0.99"],
    ["sizes", "", "", "same_price_sizes", "=", "yes"],
]


def test_excel_and_csv_of_the_same_rules_are_one_table(tmp_path: Path):
    for name in "ab":
        (tmp_path / name).mkdir()
    text = "\n".join(",".join(row) for row in ROWS)
    typed = [list(row) for row in ROWS]
    typed[2][2], typed[2][5], typed[3][2], typed[4][5] = 10, 30.0, 0, 0.99
    typed[4][2] = None
    goals = PricingGoals()
    plain = price_rules.read_table(home_with(tmp_path / "a", text=text), goals)
    assert price_rules.read_table(home_with(tmp_path / "b", book=typed), goals) == plain
    assert [rule.line for rule in plain.rules] == [3, 4, 5, 6]


def test_a_cell_shown_as_percent_is_read_as_shown(tmp_path: Path):
    settings = home_with(tmp_path)
    workbook = Workbook()
    for row in (HEADER, ["floor", None, None, "margin_pct", ">=", 0.07]):
        workbook.active.append(row)
    workbook.active["F2"].number_format = "0%"
    workbook.save(settings.rules / "pricing_rules.xlsx")
    (rule,) = price_rules.read_table(settings, PricingGoals()).rules
    assert rule.value == (700,)


@pytest.mark.parametrize(
    ("value", "message"),
    [
        (
            "#DIV/0!",
            "line 2, rule r1: column value holds the Excel error #DIV/0!; mend its formula",
        ),
        ("=10+20", "line 2, rule r1: column value: formula without a result; save the file in"),
    ],
)
def test_an_excel_cell_without_a_value_is_named(tmp_path: Path, value: str, message: str):
    settings = home_with(tmp_path, book=[HEADER, ["r1", "any", None, "margin_pct", ">=", value]])
    with pytest.raises(SettingsError) as caught:
        price_rules.read_table(settings, PricingGoals())
    assert str(caught.value).startswith(f"{settings.rules / 'pricing_rules.xlsx'}: {message}")


def test_a_text_file_named_xlsx_is_refused(tmp_path: Path):
    settings = home_with(tmp_path)
    (settings.rules / "pricing_rules.xlsx").write_text("rule_id,\n")
    with pytest.raises(SettingsError, match=r"pricing_rules\.xlsx: not an Excel workbook"):
        price_rules.read_table(settings, PricingGoals())


def test_two_files_of_rules_are_refused_and_none_means_no_rules(tmp_path: Path):
    settings = home_with(tmp_path)
    assert price_rules.read_table(settings, PricingGoals()) == DecisionTable()
    (settings.rules / "pricing_rules.csv").write_text(",".join(HEADER))
    assert price_rules.read_table(settings, PricingGoals()).rules == ()
    (settings.rules / "pricing_rules.xlsx").write_text("")
    with pytest.raises(SettingsError, match=r"pricing_rules.csv and pricing_rules.xlsx both"):
        price_rules.read_table(settings, PricingGoals())


def test_a_faulty_file_is_named_with_line_and_rule(tmp_path: Path):
    settings = home_with(tmp_path, text=",".join(HEADER) + "\nr1,any,,margin_pct,~,30\n")
    with pytest.raises(SettingsError) as caught:
        price_rules.read_table(settings, PricingGoals())
    assert str(caught.value) == (
        f"{settings.rules / 'pricing_rules.csv'}: line 2, rule r1: unknown operator '~'; "
        "use >= or <= or ="
    )
