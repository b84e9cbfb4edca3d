"""What the report tells of trust: what was rejected, what is missing, how the models did."""

from __future__ import annotations

from collections.abc import Mapping

from retail_assets import contract
from retail_assets.staging import quoted

_FILES = """
SELECT coalesce(table_name, 'not recognised') AS table_name, state, count(*) AS files,
       coalesce(sum(rows), 0) AS rows, coalesce(sum(undated), 0) AS undated,
       max(seen_at) AS seen_at, list(error ORDER BY file) FILTER (error IS NOT NULL)[:3] AS errors
FROM landing_files WHERE state <> 'replaced' GROUP BY ALL ORDER BY state, files DESC, table_name
"""


def _rejected(name: str) -> str:
    landed = "pos_lines" if name == "pos_quarantine" else name.removesuffix("_quarantine")
    return (
        f"SELECT '{quoted(landed)}' AS table_name, (SELECT count(*) FROM {landed}) AS landed,"
        f" (SELECT count(*) FROM {name}) AS rejected, reason, count(*) AS lines"
        f" FROM (SELECT unnest(reasons) AS reason FROM {name}) GROUP BY ALL"
    )


_REJECTED = (
    " UNION ALL ".join(_rejected(n) for n in contract.tables() if n.endswith("_quarantine"))
    + " ORDER BY lines DESC, table_name, reason LIMIT 25"
)

_ODD = """
SELECT warning, count(*) AS lines FROM (SELECT unnest(warnings) AS warning FROM pos_lines)
GROUP BY ALL ORDER BY lines DESC, warning LIMIT 10
"""

# Not one receipt on a day that the hours say is open; where hours are inferred such a day counts
# as closed, so there the weekday decides: most days of its kind had receipts.
_SILENT = """
WITH sold AS (SELECT DISTINCT store_id, business_date FROM interval_sales),
days AS (
    SELECT store_id, unnest(generate_series(min(business_date),
               (SELECT max(business_date) FROM sold), INTERVAL 1 DAY))::DATE AS business_date
    FROM sold GROUP BY store_id
),
every AS (
    SELECT d.store_id, d.business_date, n_intervals > 0 AS open, source,
           s.store_id IS NOT NULL AS sells,
           avg((s.store_id IS NOT NULL)::INT) OVER (
               PARTITION BY d.store_id, isodow(d.business_date)) AS usual
    FROM days d LEFT JOIN trading_days USING (store_id, business_date)
    LEFT JOIN sold s USING (store_id, business_date)
)
SELECT coalesce(any_value(s.name), store_id) AS store, count(*) AS days,
       list(business_date ORDER BY business_date)[:5] AS first_days
FROM every LEFT JOIN stores s USING (store_id)
WHERE NOT sells AND (open OR (coalesce(source, '') NOT IN ('hours', 'date') AND usual > .5))
GROUP BY store_id ORDER BY days DESC, store
"""

_ALERTS = """
SELECT raised_at, job, partition, step, message, sent FROM alerts
WHERE raised_at > now() - INTERVAL 30 DAY
ORDER BY raised_at DESC LIMIT 10
"""

_STATUS = """
SELECT category, count(*) AS series, count(*) FILTER (low_power) AS weak,
       count(*) FILTER (NOT converged) AS unsettled, max(as_of) AS as_of,
       any_value(c.accuracy) AS accuracy, any_value(c.type_1) AS type_1,
       any_value(c.type_2) AS type_2, any_value(c.n_counts) AS n_counts
FROM inventory_status_params LEFT JOIN (
    SELECT category, sum(n_counts) AS n_counts,
           sum(accuracy * n_counts) / sum(n_counts) AS accuracy,
           avg(type_1) AS type_1, avg(type_2) AS type_2
    FROM inventory_status_score GROUP BY ALL
) c USING (category) GROUP BY category ORDER BY category
"""

_CHOICE = """
SELECT d.*, r.pairs, r.told FROM substitution_diagnostics d LEFT JOIN (
    SELECT category, choice_model, count(*) AS pairs,
           count(*) FILTER (flag IN ('ok', 'weak')) AS told
    FROM substitution_rates GROUP BY ALL
) r USING (category, choice_model) WHERE chosen ORDER BY category
"""

_DEMAND = """
SELECT m.category, m.champion, identified, m.elasticity, elasticity_se, avg(b.wape) AS wape,
       avg(b.bias) AS bias, avg(b.coverage80) AS coverage, count(b.origin) AS origins,
       avg(n.wape) AS naive
FROM demand_model m
LEFT JOIN (FROM demand_backtest WHERE season = 'all') b
    ON b.category = m.category AND b.model = m.champion
LEFT JOIN (FROM demand_backtest WHERE season = 'all' AND model = 'seasonal_naive') n
    ON n.category = m.category AND n.origin = b.origin
GROUP BY ALL ORDER BY m.category
"""

# The last two reports side by side; nothing before the second.
_CHANGES = """
WITH times AS (
    SELECT made_at, row_number() OVER (ORDER BY made_at DESC) AS back
    FROM (SELECT DISTINCT made_at FROM report_figures)
),
of AS (SELECT back, report_figures.* FROM report_figures JOIN times USING (made_at) WHERE back <= 2)
SELECT coalesce(n.label, b.label) AS label, coalesce(n.unit, b.unit) AS unit,
       n.value, n.lo, n.hi, b.value AS value_before, b.lo AS lo_before, b.hi AS hi_before,
       (SELECT made_at FROM times WHERE back = 2) AS made_before
FROM (FROM of WHERE back = 1) n FULL JOIN (FROM of WHERE back = 2) b USING (figure, about)
WHERE EXISTS (FROM times WHERE back = 2) ORDER BY figure, about
"""

QUALITY: Mapping[str, str] = {
    "files": _FILES,
    "rejected": _REJECTED,
    "odd": _ODD,
    "silent": _SILENT,
    "alerts": _ALERTS,
    "status": _STATUS,
    "choice": _CHOICE,
    "demand": _DEMAND,
    "changes": _CHANGES,
}
