"""The source's own table loads; forty malformed ones each say what is wrong, where and in which."""

from __future__ import annotations

import itertools
import random

import pytest

from retail_assets.models.pricing.decision_table import DecisionTable, TableError, csv_rows, parse

HEADER = "rule_id,exposures_op,exposures_value,variable,op,value\n"
VARIABLES = "discount_from_msrp_pct difference_from_original_pct margin_pct sell_through_pct"
# Slide "Sample Rules": initial, repeat and exit sales.
SOURCE = HEADER + "".join(
    f"{sale}_{variable},{op},{exposures},{variable},"
    f"{'<=' if 'diff' in variable else '>='},{value}\n"
    for sale, op, exposures, values in (
        ("initial", "=", 0, (20, 40, 40, 20)),
        ("repeat", ">=", 1, (20, 40, 30, 20)),
        ("exit", ">=", 10, (60, 40, 5, 40)),
    )
    for variable, value in zip(VARIABLES.split(), values, strict=True)
)


def read(text: str | bytes, hit_policy: str = "override") -> DecisionTable:
    data = text.encode() if isinstance(text, str) else text
    return parse(csv_rows(data), hit_policy)  # type: ignore[arg-type]


def fault(text: str | bytes, hit_policy: str = "override") -> str:
    with pytest.raises(TableError) as caught:
        read(text, hit_policy)
    return str(caught.value)


def test_the_sources_table_loads_when_later_rows_win() -> None:
    table = read(SOURCE)
    shown = [row[:3] for row in table.describe()]
    assert shown[:3] == [
        ("discount_from_msrp_pct", "0", ">= 20"),
        ("discount_from_msrp_pct", "1-9", ">= 20"),
        ("discount_from_msrp_pct", "10+", ">= 60"),
    ]
    assert [(at, limit) for name, at, limit in shown if name == "margin_pct"] == [
        ("0", ">= 40"), ("1-9", ">= 30"), ("10+", ">= 5"),
    ]  # fmt: skip
    assert len(shown) == 12


def test_the_sources_exit_sale_is_said_to_be_impossible_above_two_thirds_of_msrp() -> None:
    (warning,) = read(SOURCE).warnings
    assert str(warning) == (
        "line 11, rule exit_difference_from_original_pct: with rule exit_discount_from_msrp_pct "
        "(line 10) a price may be at most 40 % of MSRP and at least 60 % of the original price: "
        "none is legal at exposures 10+ once original / MSRP is above 66.7 %"
    )


def test_the_sources_table_overlaps_when_rows_must_be_unique() -> None:
    message = fault(SOURCE, "unique")
    for variable in VARIABLES.split():
        assert f"overlaps rule repeat_{variable}" in message
        assert f"at exposures 10+ for {variable}" in message
    assert message.count("overlaps") == 4


def test_a_limit_from_below_does_not_take_the_place_of_one_from_above() -> None:
    table = read(
        HEADER + "a,any,,margin_pct,<=,80\nb,>=,3,margin_pct,>=,20\nc,>=,5,margin_pct,=,50\n"
    )
    assert [row[1:3] for row in table.describe()] == [
        ("0-2", "<= 80"), ("3-4", ">= 20 and <= 80"), ("5+", "= 50"),
    ]  # fmt: skip


@pytest.mark.parametrize("seed", range(40))
def test_the_resolved_rule_is_the_last_that_covers_an_exposure(seed: int) -> None:
    """Against walking down the rows for every number of exposures."""
    rng = random.Random(seed)
    rows = []
    for at in range(rng.randint(1, 8)):
        low = rng.randint(0, 8)
        op, value = rng.choice(
            [("any", ""), ("=", low), (">=", low), ("<=", low), ("between", f"{low}..{low + 3}")]
        )
        rows.append((f"r{at}", op, value, rng.choice([">=", ">=", "<="])))
    table = read(
        HEADER
        + "".join(
            f"{name},{op},{value},margin_pct,{sign},{50 + (sign == '<=')}\n"
            for name, op, value, sign in rows
        )
    )
    for exposures, sign in itertools.product(range(15), (">=", "<=")):
        last = None
        for name, op, value, own in rows:
            low, _, high = str(value).partition("..")
            holds = {
                "any": True,
                "=": exposures == int(low or 0),
                ">=": exposures >= int(low or 0),
                "<=": exposures <= int(low or 0),
                "between": int(low or 0) <= exposures <= int(high or 0),
            }[op]
            last = name if own == sign and holds else last
        side = "at_least" if sign == ">=" else "at_most"
        found = [
            getattr(piece, side)
            for piece in table.intervals["margin_pct"]
            if piece.exposures[0] <= exposures
            and (piece.exposures[1] is None or exposures <= piece.exposures[1])
        ]
        assert len(found) == 1
        assert (found[0].rule_id if found[0] else None) == last


def test_a_gap_and_a_rule_that_never_decides_are_warnings_when_later_rows_win() -> None:
    table = read(
        HEADER + "a,=,0,margin_pct,>=,10\nb,=,0,margin_pct,>=,20\nc,>=,4,margin_pct,>=,5\n"
    )
    assert [str(warning) for warning in table.warnings] == [
        "line 2, rule a: decides nowhere: later rules for margin_pct override it",
        "line 3, rule b: leaves a gap: no rule for margin_pct at 1-3",
    ]


def test_every_fault_of_a_table_is_listed_at_once() -> None:
    message = fault(HEADER + "a,~,1,margin,>=,x\nb,=,0,margin_pct,!,20\nb,=,0,margin_pct,>=,200\n")
    assert [part.partition(": ")[0] for part in message.split("; line")] == [
        "line 2, rule a", " 2, rule a", " 3, rule b", " 4, rule b", " 4, rule b",
    ]  # fmt: skip


def test_notes_blank_lines_and_a_byte_order_mark_are_skipped() -> None:
    text = (
        '\ufeff# the "cheap" rows\n\n' + HEADER + ",,,,,\n  # off,,,\nfloor,,,margin_pct,>=,12.5%\n"
    )
    (rule,) = read(text).rules
    assert (rule.line, rule.value, rule.exposures) == (6, (1250,), (0, None))


def test_line_ends_of_any_system_give_the_same_lines() -> None:
    text = HEADER + "a,any,,margin_pct,>=,30\nb,any,,margin_pct,>=,40\n"
    tables = [read(text.replace("\n", end)) for end in ("\n", "\r\n", "\r")]
    assert tables[0] == tables[1] == tables[2]


def test_rules_of_a_whole_sale_are_found_by_name() -> None:
    table = read(
        HEADER
        + "a,any,,max_changes,<=,7\nb,,,same_price_sizes,=,yes\nc,any,,price_order_family,=,no\n"
    )
    changes = table.sale_rule("max_changes")
    assert changes is not None
    assert changes.value == (7,)
    assert table.sale_rule("same_price_sizes") is not None
    assert table.sale_rule("price_order_family") is None
    assert table.sale_rule("sale_margin_pct") is None
    assert table.decisions() == ()


def test_price_forms_that_can_meet_are_no_contradiction() -> None:
    for form in (
        "price_ladder,in,step 0.25\nb,any,,price_ending,in,75;99",
        "price_ladder,in,2.99;3.50\nb,any,,price_ending,in,.99",
        "price_cents,>=,399\nb,any,,price_ending,=,.99",
        "price_cents,<=,399\nb,any,,price_ladder,in,step 3.99",
    ):
        assert read(f"{HEADER}a,any,,{form}\n").warnings == ()


ROW = "r1,any,,margin_pct,>=,30\n"
KNOWN_COLUMNS = "rule_id, exposures_op, exposures_value, variable, op, value"
KNOWN_VARIABLES = (
    "discount_from_msrp_pct, difference_from_original_pct, margin_pct, sell_through_pct, "
    "price_cents, price_ladder, price_ending, same_price_sizes, price_order_family, max_changes, "
    "sale_margin_pct, sale_sell_through_pct"
)


def _rows(*rows: str) -> str:
    return HEADER + "".join(row + "\n" for row in rows)


# what the file holds -> the whole message
MALFORMED: list[tuple[str | bytes, str]] = [
    # the file
    ("", f"line 1: the file is empty; its header is {KNOWN_COLUMNS.replace(' ', '')}"),
    (
        HEADER.encode() + b"r1,any,,margin_pct,>=,30\nr\xe9gle,any,,margin_pct,>=,3\n",
        "line 3: byte 0xe9 is not UTF-8; save the file as CSV UTF-8",
    ),
    (
        HEADER.replace(",", ";") + ROW.replace(",", ";"),
        "line 1: columns are separated by semicolons; save with commas, or as .xlsx",
    ),
    (HEADER.replace(",op", "") + ROW, "line 1: column op is missing"),
    (
        HEADER.replace("value\n", "value,note\n") + ROW,
        f"line 1: unknown column 'note'; known: {KNOWN_COLUMNS}",
    ),
    (HEADER.replace("value\n", "value,value\n") + ROW, "line 1: column value appears twice"),
    (_rows('"r1,any,,margin_pct,>=,30'), "line 2: a quote is not closed, or text follows it"),
    # the row
    (
        _rows("r1,any,,price_ladder,in,2,50"),
        "line 2, rule r1: 7 cells for 6 columns; lists are separated by semicolons",
    ),
    (
        _rows("r1,any,,margin_pct"),
        "line 2, rule r1: 4 cells for 6 columns; lists are separated by semicolons",
    ),
    (
        _rows(",any,,margin_pct,>=,30"),
        "line 2: rule_id is empty; give every rule a name of its own",
    ),
    (
        _rows("r1,any,,margin_pct,>=,30", "r1,any,,sell_through_pct,>=,3"),
        "line 3, rule r1: rule_id is used before, in line 2; rename one",
    ),
    (
        _rows("extrapolated,any,,margin_pct,>=,30"),
        "line 2, rule extrapolated: rule_id 'extrapolated' is taken by the demand model; "
        "choose another",
    ),
    # the exposures
    (
        _rows("r1,>,3,margin_pct,>=,30"),
        "line 2, rule r1: unknown exposures_op '>'; use =, >=, <=, between or any",
    ),
    (
        _rows("r1,any,3,margin_pct,>=,30"),
        "line 2, rule r1: exposures_value '3' without exposures_op; use =, >= or <=",
    ),
    (
        _rows("r1,>=,,margin_pct,>=,30"),
        "line 2, rule r1: exposures_value is empty, exposures_op >= needs one",
    ),
    (
        _rows("r1,=,first,margin_pct,>=,30"),
        "line 2, rule r1: exposures_value 'first' is not a whole number",
    ),
    (
        _rows("r1,>=,-1,margin_pct,>=,30"),
        "line 2, rule r1: exposures_value -1 is negative; a first sale has 0 exposures",
    ),
    (
        _rows("r1,between,1-9,margin_pct,>=,30"),
        "line 2, rule r1: exposures_value '1-9' is not a range; write 1..9",
    ),
    (
        _rows("r1,between,9..1,margin_pct,>=,30"),
        "line 2, rule r1: exposures_value 9..1 runs backwards; write 1..9",
    ),
    (
        _rows("r1,>=,1,max_changes,<=,3"),
        "line 2, rule r1: max_changes rules the whole sale; its exposures must be 'any'",
    ),
    # the variable and its operator
    (
        _rows("r1,any,,margin,>=,30"),
        f"line 2, rule r1: unknown variable 'margin'; known: {KNOWN_VARIABLES}",
    ),
    (
        _rows("r1,any,,,>=,30"),
        f"line 2, rule r1: variable is empty; known: {KNOWN_VARIABLES}",
    ),
    (
        _rows("r1,any,,margin_pct,=>,30"),
        "line 2, rule r1: unknown operator '=>'; use >= or <= or =",
    ),
    (_rows("r1,any,,margin_pct,,30"), "line 2, rule r1: op is empty; use >= or <= or ="),
    (
        _rows("r1,any,,max_changes,>=,3"),
        "line 2, rule r1: operator >= does not suit max_changes; use <=",
    ),
    # the value
    (_rows("r1,any,,margin_pct,>=,"), "line 2, rule r1: value is empty; margin_pct needs one"),
    (_rows("r1,any,,margin_pct,>=,lots"), "line 2, rule r1: value 'lots' is not a number"),
    (
        _rows('r1,any,,margin_pct,>=,"12,5"'),
        "line 2, rule r1: value '12,5' has a decimal comma; write 12.5",
    ),
    (
        _rows("r1,any,,margin_pct,>=,33.333"),
        "line 2, rule r1: value 33.333 has more than two decimals",
    ),
    (
        _rows("r1,any,,margin_pct,>=,130"),
        "line 2, rule r1: value 130 of margin_pct is outside 0 to 100 percent",
    ),
    (
        _rows("r1,any,,price_cents,>=,2.50"),
        "line 2, rule r1: value 2.50 of price_cents has decimals; it is in cents; write 250",
    ),
    (
        _rows("r1,any,,price_cents,>=,0"),
        "line 2, rule r1: value 0 of price_cents must be 1 or more",
    ),
    (
        _rows("r1,any,,same_price_sizes,=,maybe"),
        "line 2, rule r1: value 'maybe' of same_price_sizes must be yes or no",
    ),
    (
        _rows("r1,any,,price_ladder,in,2.50;;2.70"),
        "line 2, rule r1: ladder '2.50;;2.70' has an empty step; write 2.50;2.70",
    ),
    (
        _rows("r1,any,,price_ladder,in,2.50;2.5"),
        "line 2, rule r1: value '2.50;2.5' names a price twice",
    ),
    (
        _rows("r1,any,,price_ladder,in,0;2.50"),
        "line 2, rule r1: ladder '0;2.50': a price must be above 0",
    ),
    (
        _rows("r1,any,,price_ladder,in,step"),
        "line 2, rule r1: ladder 'step' lacks its step; write step 0.10",
    ),
    (
        _rows("r1,any,,price_ladder,in,step 0"),
        "line 2, rule r1: ladder 'step 0': a step must be above 0",
    ),
    (
        _rows("r1,any,,price_ending,in,9"),
        "line 2, rule r1: price ending '9' is not two digits; write .99 or 99;95",
    ),
    (
        _rows("r1,any,,margin_pct,>=,#DIV/0!"),
        "line 2, rule r1: column value holds the Excel error #DIV/0!; mend its formula",
    ),
    (
        _rows("r1,any,,margin_pct,>=,#FORMULA"),
        "line 2, rule r1: column value: formula without a result; save the file in Excel",
    ),
    # rows that do not go together
    (
        _rows("r1,<=,5,margin_pct,>=,60", "r2,>=,3,margin_pct,<=,50"),
        "line 3, rule r2: contradicts rule r1 (line 2): >= 60 and <= 50 for margin_pct at "
        "exposures 3-5",
    ),
    (
        _rows("r1,any,,price_ladder,in,step 0.10", "r2,>=,10,price_ending,in,.99"),
        "line 3, rule r2: contradicts rule r1 (line 2): together they leave no price at "
        "exposures 10+",
    ),
    (
        _rows("r1,any,,price_cents,>=,300", "r2,any,,price_ladder,in,2.50;2.70"),
        "line 3, rule r2: contradicts rule r1 (line 2): together they leave no price at "
        "exposures 0+",
    ),
    (
        _rows(*(f"r{at},=,{at},margin_pct,>=,30" for at in range(61))),
        "line 62, rule r60: one price rule too many; a table holds at most 60",
    ),
]
UNIQUE_ONLY: list[tuple[str, str]] = [
    (
        _rows("r1,<=,5,margin_pct,>=,30", "r2,>=,3,margin_pct,>=,20"),
        "line 3, rule r2: overlaps rule r1 (line 2) at exposures 3-5 for margin_pct; narrow one "
        "of them, or set hit_policy = 'override'",
    ),
    (
        _rows("r1,=,0,margin_pct,>=,30", "r2,>=,10,margin_pct,>=,20"),
        "line 2, rule r1: leaves a gap: no rule for margin_pct at 1-9",
    ),
]


@pytest.mark.parametrize(("text", "message"), MALFORMED)
def test_a_malformed_table_says_what_is_wrong_with_line_and_rule(
    text: str | bytes, message: str
) -> None:
    assert fault(text) == message


@pytest.mark.parametrize(("text", "message"), UNIQUE_ONLY)
def test_overlaps_and_gaps_are_refused_where_rows_must_be_unique(text: str, message: str) -> None:
    assert fault(text, "unique") == message
    read(text, "override")


def test_no_two_of_at_least_forty_malformed_tables_share_a_message() -> None:
    kinds = [message.partition(": ")[2] for _, message in MALFORMED + UNIQUE_ONLY]
    assert len(set(kinds)) >= 40
    assert len(MALFORMED + UNIQUE_ONLY) == len({message for _, message in MALFORMED + UNIQUE_ONLY})
