"""Write a history as landing files, and its truth beside them. Same history, same bytes."""

from __future__ import annotations

import gzip
import io
import json
from collections.abc import Iterator
from datetime import timedelta
from pathlib import Path

import pandas as pd

from retail_assets.errors import SettingsError
from retail_assets.simulator import chains, reference
from retail_assets.simulator.engine import History, simulate
from retail_assets.simulator.presets import load_preset
from retail_assets.simulator.receipts import COLUMNS, store_receipts
from retail_assets.simulator.truth import description, truth_tables

DEFAULT_SEED = 2026
MAX_FILES = 60
# Tables with more rows than this are gzipped.
PLAIN_ROWS = 5_000
MONEY = {"unit_price", "net_amount", "discount_amount", "unit_cost", "msrp", "original_price"}
MONEY |= {"regular_price", "offer_price", "price"}


def write_preset(name: str, out_dir: Path | str, seed: int | None = None) -> list[Path]:
    """Simulate a preset and write it.

    Parameters
    ----------
    name : str
        See `retail_assets.simulator.preset_names`.
    out_dir : Path
        Becomes a landing folder; the truth goes to ``out_dir/truth``.
    seed : int, optional

    Returns
    -------
    list of Path
        The files written.

    Raises
    ------
    SettingsError
        Unknown preset, or ``out_dir`` holds other receipts.
    """
    spec = load_preset(name)
    return write_landing(simulate(spec, DEFAULT_SEED if seed is None else seed), out_dir)


def write_landing(
    history: History, out_dir: Path | str, truth_dir: Path | str | None = None
) -> list[Path]:
    """Write contract files of a history, and its truth.

    Parameters
    ----------
    history : History
    out_dir : Path
        Landing folder; made when absent.
    truth_dir : Path, optional
        Default ``out_dir/truth``.

    Returns
    -------
    list of Path
        The files written, landing files first.
    """
    out = Path(out_dir)
    receipts = dict(_split(history))
    present = {p.name for p in (out / "pos").glob("*")} if (out / "pos").is_dir() else set()
    strangers = sorted(present - {f"{name}.csv.gz" for name in receipts})
    if strangers:
        raise SettingsError(
            f"{out / 'pos'} already holds other receipts ({strangers[0]}, ...); "
            "choose an empty folder"
        )
    written = [_write(frame, out / "pos" / name, packed=True) for name, frame in receipts.items()]
    for name, frame in _tables(history):
        written.append(_write(frame, out / name, packed=len(frame) > PLAIN_ROWS))
    truth = Path(truth_dir) if truth_dir is not None else out / "truth"
    for name, frame in truth_tables(history):
        written.append(_write(frame, truth / name, packed=len(frame) > PLAIN_ROWS))
    about = truth / "retailer.json"
    about.write_text(json.dumps(description(history), indent=1) + "\n", encoding="utf-8")
    return [*written, about]


def _tables(history: History) -> Iterator[tuple[str, pd.DataFrame]]:
    spec = history.spec
    yield "products", reference.products(history)
    yield "shelf", reference.shelf(history)
    yield "stores", reference.stores(history)
    yield "store_hours", reference.store_hours(history)
    yield "price_calendar", reference.price_calendar(history)
    if spec.deliveries_known:
        yield "deliveries", reference.deliveries(history)
    if spec.count_days:
        yield "stock_counts", reference.stock_counts(history)
    stock = []
    if spec.trials is not None:
        trials, shipments = chains.trials_and_shipments(history, spec.trials)
        yield "style_trials", trials
        yield "shipments", shipments
        stock.append(chains.box_stock(spec.trials, shipments, spec.n_days / 7))
    if spec.warehouse is not None:
        stock.append(chains.warehouse_stock(history, spec.warehouse))
    if stock:
        yield "stock", pd.concat(stock, ignore_index=True)
    events = chains.sale_events(history)
    if len(events):
        yield "sale_events", events


def _split(history: History) -> Iterator[tuple[str, pd.DataFrame]]:
    """Receipts of all stores by day, week, month or year: the finest of at most 60 files."""
    every = pd.concat(
        [store_receipts(history, s) for s in range(len(history.spec.stores))], ignore_index=True
    )
    # Every line lies in the file of its business day, however late the night.
    starts = [history.spec.first_day + timedelta(days=d) for d in range(history.spec.n_days)]
    for label in (
        [d.isoformat() for d in starts],
        [(d - timedelta(days=d.weekday())).isoformat() for d in starts],
        [d.isoformat()[:7] for d in starts],
        [d.isoformat()[:4] for d in starts],
    ):
        if len(set(label)) <= MAX_FILES:
            break
    names = pd.Series(label)
    keys = names.iloc[every["day"].to_numpy()].to_numpy()
    for name, lines in every.groupby(keys, sort=True):
        ordered = lines.sort_values(["sold_at", "store_id"], kind="stable")
        yield str(name), ordered[list(COLUMNS)]


def _write(frame: pd.DataFrame, stem: Path, *, packed: bool) -> Path:
    """One CSV, gzipped without a time stamp so that the same rows are the same bytes."""
    stem.parent.mkdir(parents=True, exist_ok=True)
    frame = frame.assign(**{c: _money(frame[c]) for c in frame.columns if c in MONEY})
    text = io.StringIO()
    frame.to_csv(text, index=False, lineterminator="\n", date_format="%Y-%m-%d %H:%M:%S")
    content = text.getvalue().encode()
    path = stem.with_name(f"{stem.name}.csv.gz" if packed else f"{stem.name}.csv")
    path.write_bytes(gzip.compress(content, mtime=0) if packed else content)
    return path


def _money(amounts: pd.Series) -> pd.Series:
    """Two decimals; up to four where a published price has them (8.051)."""
    values = {v: "" if pd.isna(v) else _price(v) for v in amounts.unique()}
    return amounts.map(values)


def _price(amount: float) -> str:
    text = f"{amount:.4f}"
    return text[:-2] if text.endswith("00") else text.rstrip("0")
