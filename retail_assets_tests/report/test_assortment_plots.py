"""Pictures of assortments: small PNGs whatever they are handed, with units and intervals."""

from __future__ import annotations

import io

import numpy as np
import pytest
from matplotlib.colors import same_color, to_rgba
from matplotlib.container import BarContainer, ErrorbarContainer
from PIL import Image

from retail_assets.report import assortment_plots as plots
from retail_assets.report.plots import BLUE, GREY, ORANGE, RED

LARGEST = 60_000  # bytes; the UI loads every one of them with the page
NAN = float("nan")


def long_names(n: int) -> list[str]:
    return [f"Fairtrade $ dark chocolate 70 % bar {k:04d}" for k in range(n)]


def flow(n: int, label: str = "Dark $2 & $3 bar", scale: float = 1.0) -> plots.Flow:
    share = scale * np.arange(1.0, n + 2) / np.arange(1.0, n + 2).sum()
    return plots.Flow(label, long_names(n), share, 0.5 * share, np.minimum(1.5 * share, 1))


def budgets(profit=(900, 1500, 1900), bound=(1000, 1700, 2300), chosen=200_000.0):
    b = len(profit)
    profit = 100 * np.array(profit, float)
    return plots.profit_against_budget(
        np.array([300_000, 100_000, 200_000])[:b], profit, profit - 5_000, profit + 5_000,
        100 * np.array(bound, float), chosen, currency="EUR", title="Budget",
    )  # fmt: skip


def stock(plan, alone, pooled=None):
    plan, alone = np.array(plan), np.array(alone)
    return plots.stock_against_newsvendor(
        long_names(len(plan)), plan, alone, 1.5 * alone if pooled is None else pooled, title="Stock"
    )


def space(value, error, now, plan):
    return plots.marginal_value_of_space(
        long_names(len(value)), np.array(value), np.array(error), np.array(now), np.array(plan),
        currency="EUR", title="Shelf",
    )  # fmt: skip


def plans(mean, bound, methods=("joint", "independent_newsvendor", "fluid_lp", "top_k"), **given):
    mean = np.array(mean, float)
    return plots.plans_compared(
        methods[: len(mean)], mean, mean - 3_000, mean + 4_000, bound, currency="EUR",
        title="Plans", **given,
    )  # fmt: skip


def differences(draws, p=0.9):
    return plots.difference_histogram(np.array(draws, float), p, currency="$", title="Joint - now")


def pictures():
    k, rng = np.arange(500), np.random.default_rng(3)
    wide = np.rint(rng.lognormal(3, 1.5, 500))
    unknown = plots.Flow("new", ["a", "b"], *np.full((3, 3), NAN))
    return {
        "nine flows of 60": lambda: plots.substitution_flow([flow(60)] * 9, title="Chocolate"),
        "a flow of one": lambda: plots.substitution_flow([flow(1)], title="t"),
        "a flow to nothing": lambda: plots.substitution_flow([flow(0), flow(4)], title="t"),
        "flows of zero": lambda: plots.substitution_flow([flow(5, scale=0)], title="t"),
        "an unknown flow": lambda: plots.substitution_flow([unknown], title="t"),
        "no flows": lambda: plots.substitution_flow([], title="t"),
        "budgets": budgets,
        "budgets, bound unknown": lambda: budgets(bound=[NAN] * 3, chosen=None),
        "budgets, a bound unknown": lambda: budgets(bound=[1000, NAN, np.inf], chosen=NAN),
        "one budget that loses": lambda: budgets([-500], [0]),
        "no budgets": lambda: budgets([], []),
        "stock of 500": lambda: stock(np.where(k % 5 == 0, 0, np.rint(wide * 1.2)), wide),
        "stock of 60": lambda: stock(5 + k[:60] % 13, 5 + k[:60] % 7),
        "stock of one": lambda: stock([7], [5]),
        "stock of zero": lambda: stock([0, 0], [0, 0]),
        "stock, demand unknown": lambda: stock([3, 2], [0, 4], np.full(2, NAN)),
        "stock of nothing": lambda: stock([], []),
        "space of 500": lambda: space(100.0 * k - 9_000, 50.0 * k, k, k[::-1]),
        "space of one": lambda: space([-50.0], [NAN], [4], [4]),
        "space of zero": lambda: space([0.0] * 3, [0.0] * 3, [0] * 3, [0] * 3),
        "space, value unknown": lambda: space([NAN, 3.0], [NAN, 1.0], [4, 2], [0, 6]),
        "space of nothing": lambda: space([], [], [], []),
        "plans": lambda: plans([9e5, 6e5, 8e5, 8.5e5], 1e6, chosen="joint"),
        "plans of 60": lambda: plans(1e5 * k[:60], NAN, long_names(60)),
        "plans that lose": lambda: plans([-9e5, -1e5], -5e4),
        "one plan of zero": lambda: plans([0], 0.0),
        "an unknown plan": lambda: plans([NAN, 3e5], 4e5),
        "no plans": lambda: plans([], NAN),
        "differences": lambda: differences(rng.normal(3e4, 2e4, 800)),
        "no difference": lambda: differences(np.zeros(200), 0.0),
        "worse, some unknown": lambda: differences([-1e5, -2e4, NAN, -3e3], 0.0),
        "one difference": lambda: differences([1_200], NAN),
        "no draws": lambda: differences([], NAN),
    }


@pytest.mark.filterwarnings("error")
@pytest.mark.parametrize("name", pictures())
def test_a_picture_is_a_small_png_of_the_uis_width_whatever_it_is_handed(name):
    png = pictures()[name]()
    assert png.startswith(b"\x89PNG"), name
    assert len(png) < LARGEST, f"{name}: {len(png)} bytes"
    width, height = Image.open(io.BytesIO(png)).size
    assert 690 <= width <= 710, name
    assert height <= 800, name


@pytest.fixture
def drawn(monkeypatch):
    """Draw, and hand back the figure instead of its PNG."""
    kept = []
    monkeypatch.setattr(plots, "palette_png", kept.append)

    def draw(plot, *given, **named):
        plot(*given, **named)
        return kept[-1]

    return draw


def panels(figure):
    return [axis for axis in figure.axes if axis.get_visible()]


def kinds(axis, kind):
    return [container for container in axis.containers if isinstance(container, kind)]


def row_labels(axis):
    return [label.get_text() for label in axis.get_yticklabels()]


def notes(axis):
    return [text.get_text().strip() for text in axis.texts]


def segments(container):
    """(2, 2) ends of each whisker of an error bar; (0, 2) where it has none."""
    return [np.reshape(ends, (-1, 2)) for ends in container.lines[2][0].get_segments()]


def colours(bars):
    return [bar.get_facecolor()[:3] for bar in bars]


def rgb(*names):
    return [to_rgba(name)[:3] for name in names]


def test_a_flow_names_six_takers_and_adds_up_with_the_others_and_leaving(drawn):
    (axis,) = panels(drawn(plots.substitution_flow, [flow(60)], title="t"))
    labels, (bars,) = row_labels(axis), kinds(axis, BarContainer)
    width = [bar.get_width() for bar in bars]
    assert labels[6:] == ["54 others together", "buys nothing"]
    assert labels[0].endswith("0059")
    assert sum(width) == pytest.approx(100)
    assert width[:6] == sorted(width[:6], reverse=True)
    assert colours(bars) == rgb(*[BLUE] * 6, GREY, RED)
    assert "%" in axis.get_xlabel()
    assert "95 % interval" in axis.get_xlabel()
    assert "without" in axis.get_title()


def test_the_others_of_a_flow_have_no_interval_but_each_taker_has(drawn):
    own = flow(60)
    (axis,) = panels(drawn(plots.substitution_flow, [own], title="t"))
    (whiskers,) = kinds(axis, ErrorbarContainer)
    ends = [segment[:, 0] for segment in segments(whiskers)]
    assert ends[0] == pytest.approx([100 * own.low[59], 100 * own.high[59]])
    assert ends[7] == pytest.approx([100 * own.low[60], 100 * own.high[60]])
    assert [len(end) for end in ends] == [2] * 6 + [0, 2]


def test_flows_are_drawn_on_one_scale_and_those_left_out_are_counted(drawn):
    figure = drawn(plots.substitution_flow, [flow(k + 1) for k in range(9)], title="t")
    assert len(panels(figure)) == 6
    assert len({axis.get_xlim() for axis in panels(figure)}) == 1
    assert figure.get_suptitle() == "t (6 of 9)"
    assert len(panels(drawn(plots.substitution_flow, [flow(2)] * 3, title="t"))) == 3


def test_an_unknown_share_is_called_unknown(drawn):
    unknown = plots.Flow("new", ["a"], *np.full((3, 2), NAN))
    (axis,) = panels(drawn(plots.substitution_flow, [unknown], title="t"))
    assert notes(axis) == ["unknown", "unknown"]


def test_budgets_are_sorted_in_the_currency_with_intervals_and_a_shaded_gap(drawn):
    (axis,) = panels(drawn(budgets))
    (profit,) = kinds(axis, ErrorbarContainer)
    assert profit.lines[0].get_xydata().tolist() == [[1000, 1500], [2000, 1900], [3000, 900]]
    assert segments(profit)[0][:, 1].tolist() == [1450, 1550]
    (gap,) = [area for area in axis.collections if area.get_label() == "not ruled out"]
    low, high = gap.get_paths()[0].get_extents().intervaly
    assert (low, high) == (900, 2300)
    labels = {line.get_label(): line for line in axis.lines}
    assert labels["upper bound"].get_ydata().tolist() == [1700, 2300, 1000]
    assert labels["budget of the plan: 2,000"].get_xdata() == [2000, 2000]
    assert "EUR" in axis.get_xlabel()
    assert "EUR" in axis.get_ylabel()


def test_an_unknown_bound_is_said_and_not_drawn(drawn):
    (axis,) = panels(drawn(budgets, bound=[NAN] * 3, chosen=None))
    assert "upper bound unknown at 3 of 3" in axis.get_xlabel()
    assert not [area for area in axis.collections if area.get_label() == "not ruled out"]
    (few,) = panels(drawn(budgets, bound=[1000, NAN, 2000]))
    assert "upper bound unknown at 1 of 3" in few.get_xlabel()
    (axis,) = panels(drawn(plans, [9e5, 8e5], NAN))
    assert "upper bound unknown" in axis.get_xlabel()
    assert not [line for line in axis.lines if line.get_color() == ORANGE]


def test_products_that_differ_most_from_the_newsvendor_are_named(drawn):
    alone = np.full(40, 20)
    plan = alone + np.arange(40) % 20 - 10
    (axis,) = panels(drawn(stock, plan, alone))
    named = {int(note.split("\n")[0][-4:]) for note in notes(axis)}
    apart = np.abs(plan - alone)
    assert len(named) == 8
    assert apart[list(named)].min() >= np.delete(apart, list(named)).max()
    assert "10 instead of 20" in notes(axis)[-1]
    assert "8 of 38 that differ are named" in axis.get_title()
    assert axis.get_xlim() == axis.get_ylim()


def test_products_not_carried_are_rings_in_sight_and_dots_are_sized_by_demand(drawn):
    plan, alone, demand = [0, 30, 7, 2], [12, 20, 7, 9], np.array([5.0, 80, 20, 0])
    (axis,) = panels(drawn(stock, plan, alone, demand))
    groups = {dots.get_label(): dots for dots in axis.collections}
    assert set(groups) == {
        "plan has more: 1", "plan has as many: 1", "plan has fewer: 1", "not carried: 1",
    }  # fmt: skip
    ring = groups["not carried: 1"]
    assert ring.get_offsets().tolist() == [[12, 0]]
    assert len(ring.get_facecolors()) == 0
    assert axis.get_ylim()[0] < 0
    size = {label: dots.get_sizes()[0] for label, dots in groups.items()}
    # Areas of the data, not of the legend: the largest demand is the largest dot.
    assert max(size, key=size.get) == "plan has more: 1"
    assert size["plan has fewer: 1"] == min(size.values()) > 0
    assert "units" in axis.get_xlabel()
    assert "at most 80 units" in axis.get_title()


def test_axes_are_logarithmic_only_where_quantities_differ_by_more_than_twentyfold(drawn):
    (near,) = panels(drawn(stock, [0, 5, 30], [3, 6, 40]))
    (far,) = panels(drawn(stock, [0, 5, 90], [3, 6, 100]))
    assert near.get_xscale() == near.get_yscale() == "linear"
    assert far.get_xscale() == far.get_yscale() == "symlog"
    assert near.get_ylim()[0] < 0
    assert far.get_ylim()[0] < 0


def test_space_shows_values_with_intervals_beside_moves_in_the_same_rows(drawn):
    figure = drawn(space, [100.0, 900, -500, 50], [10.0, 600, 100, NAN], [4, 2, 6, 3], [7, 1, 6, 3])
    left, right = panels(figure)
    (bars,) = kinds(left, BarContainer)
    assert [bar.get_width() for bar in bars] == [9, 1, 0.5, -5]
    assert colours(bars) == rgb(GREY, BLUE, GREY, RED)
    (whiskers,) = kinds(left, ErrorbarContainer)
    assert segments(whiskers)[1][:, 0] == pytest.approx([1 - 0.196, 1 + 0.196])
    assert notes(right) == ["2 → 1", "4 → 7", "3", "6"]
    assert right.get_ylim() == left.get_ylim()
    _, up, down = (dots for dots in right.collections[1:])
    assert up.get_offsets().tolist() == [[7, 1]]
    assert down.get_offsets().tolist() == [[1, 0]]
    assert "profit of one more unit of room, EUR" in left.get_xlabel()
    assert "units of room" in right.get_xlabel()


def test_of_many_products_those_whose_space_changes_most_are_drawn(drawn):
    change = np.arange(60) % 30
    figure = drawn(space, np.arange(60.0), np.ones(60), np.full(60, 5), 5 + change)
    shown = [int(label[-4:]) for label in row_labels(panels(figure)[0])]
    assert len(shown) == 25
    assert change[shown].min() >= np.delete(change, shown).max()
    assert shown == sorted(shown, reverse=True)  # value grows with the number
    assert figure.get_suptitle() == "Shelf (25 of 60)"


def test_plans_come_best_first_with_their_share_of_the_bound(drawn):
    (axis,) = panels(drawn(plans, [9e5, 6e5, 8e5], 1e6, chosen="joint"))
    assert row_labels(axis) == ["joint", "fluid lp", "independent newsvendor"]
    assert notes(axis) == ["9,000 (90.0 %)", "8,000 (80.0 %)", "6,000 (60.0 %)"]
    bold = [label.get_fontweight() for label in axis.get_yticklabels()]
    assert bold == ["bold", "normal", "normal"]
    whiskers = kinds(axis, ErrorbarContainer)
    assert len(whiskers) == 3
    assert segments(whiskers[0])[0][:, 0].tolist() == [8970, 9040]
    (bound,) = [line for line in axis.lines if same_color(line.get_color(), ORANGE)]
    assert bound.get_label() == "upper bound: 10,000 (100 %)"
    assert bound.get_xdata() == [10_000, 10_000]
    assert "EUR (95 % interval)" in axis.get_xlabel()


def test_a_bound_of_nothing_gives_no_share(drawn):
    (axis,) = panels(drawn(plans, [-9e5, -1e5], 0.0))
    assert notes(axis) == ["-1,000", "-9,000"]
    assert axis.lines[-1].get_label() == "upper bound: 0"


def test_no_bar_of_a_histogram_is_both_better_and_worse(drawn):
    draws = np.random.default_rng(5).normal(20_000, 30_000, 700)
    (axis,) = panels(drawn(differences, draws, 0.743))
    (bars,) = kinds(axis, BarContainer)
    better = [bar for bar in bars if same_color(bar.get_facecolor()[:3], BLUE)]
    worse = [bar for bar in bars if same_color(bar.get_facecolor()[:3], RED)]
    assert len(better) + len(worse) == len(bars)
    assert sum(bar.get_height() for bar in better) == (draws >= 0).sum()
    assert sum(bar.get_height() for bar in worse) == (draws < 0).sum()
    assert "P(improves) = 74.3 %" in axis.get_title()
    assert r"\$ (blue: better, red: worse)" in axis.get_xlabel()
    at = [line.get_xdata()[0] for line in axis.lines]
    assert at == pytest.approx([*np.quantile(draws / 100, [0.025, 0.975]), draws.mean() / 100, 0])


def test_equal_plans_are_neither_better_nor_worse_and_unknown_draws_are_counted(drawn):
    (axis,) = panels(drawn(differences, [0.0] * 50, 0.0))
    assert colours(kinds(axis, BarContainer)[0]) == rgb(GREY)
    (axis,) = panels(drawn(differences, [100.0, NAN, 300.0], NAN))
    assert axis.get_ylabel() == "posterior draws of 3, 1 unknown"
    assert "P(improves) = unknown" in axis.get_title()
