"""The price sensor: sales to come, their prices, and what was charged once they began.

A tick asks for the demand of categories whose curves are older than their receipts or lack
a sale to come, then (when those runs have ended, well or not: the older curves still serve)
for the prices of every sale whose inputs changed, and for the decisions of sales that began.
Each is asked for once per content of its inputs, so a failed run is not asked for again
until something it reads changes. What is out of date is decided by ``retail_assets.sales``.
"""

import hashlib
import json
from dataclasses import dataclass, field

import dagster as dg

from retail_assets import sales
from retail_assets.automation import jobs, switch
from retail_assets.automation.sensors import content_hash
from retail_assets.partitions import CATEGORIES, SALES
from retail_assets.settings import Settings
from retail_assets.warehouse import Session, Warehouse

MOST = 50
"""Runs asked for in one tick; the rest comes in the next. A tick has 60 s."""
RUN_KEY = "dagster/run_key"
WATCHED = (
    "sale_events", "sale_events_quarantine", "products", "price_calendar",
    "interval_sales", "demand_rates", "demand_curves", "decisions",
)  # fmt: skip


@dataclass
class Asked:
    """Requests by run and partition: the content they were made for, and their run key.

    A key is chained to the one before it: content that comes back is a new request, while a
    replay, a restart and a lost cursor give the keys that were there before.
    """

    known: dict[str, list[str]]
    requests: list[dg.RunRequest] = field(default_factory=list)

    def ask(self, job: str, partition: str, content: str) -> None:
        """Request a run unless it was asked for with this content, or the tick is full."""
        name = f"{job}/{partition}"
        before, key = self.known.get(name, ["", ""])
        if before == content or len(self.requests) == MOST:
            return
        key = f"{name}/{content_hash(key, content)}"
        self.known[name] = [content, key]
        self.requests.append(dg.RunRequest(key, job_name=job, partition_key=partition))

    def runs(self, job: str, partition: str, instance: dg.DagsterInstance) -> bool:
        """Whether the run last asked for has not ended yet."""
        if f"{job}/{partition}" not in self.known:
            return True
        key = self.known[f"{job}/{partition}"][1]
        found = instance.get_runs(dg.RunsFilter(tags={RUN_KEY: key}), limit=1)
        return not found or not found[0].is_finished


@dg.sensor(
    jobs=[jobs.demand, jobs.prices, jobs.decisions],
    minimum_interval_seconds=60,
    default_status=switch.SENSORS,
    description="Watches sale_events and asks for the demand, prices and decisions they need.",
)
def price_sensor(
    context: dg.SensorEvaluationContext, warehouse: dg.ResourceParam[Warehouse]
) -> dg.SensorResult | dg.SkipReason:
    """Requests whose keys come from content; a tick without news opens no table."""
    rules = _rules(warehouse.settings)
    seen = content_hash(rules, *(str(warehouse.version(name)) for name in WATCHED))
    before = json.loads(context.cursor or "{}")
    if before.get("settled") == seen:
        return dg.SkipReason("no news of sales, demand or rules")
    with warehouse.session() as session:
        coming = sales.coming(session)
        asked = Asked(before.get("asked", {}))
        held = _ask(context.instance, session, asked, coming, rules)
    settled = seen if not held and len(asked.requests) < MOST else None
    every = {sale for _, sale in coming}
    return dg.SensorResult(
        run_requests=asked.requests,
        skip_reason=None if asked.requests else _waits_for(held),
        cursor=json.dumps({"settled": settled, "asked": asked.known}),
        dynamic_partitions_requests=_new_partitions(context.instance, coming, every),
    )


def _ask(
    instance: dg.DagsterInstance,
    session: Session,
    asked: Asked,
    coming: list[tuple[str | None, str]],
    rules: str,
) -> set[str]:
    """Add the requests of this tick; what others wait for."""
    modelled = session.warehouse.partitions("demand_rates")
    # Without its models a category has no demand: the weekly run makes both.
    late = sales.outdated(session) & {category for category, _ in coming if category} & modelled
    of_demand = sales.demand_inputs(session)
    for category in sorted(late):
        asked.ask("demand", category, of_demand[category])
    held = {category for category in late if asked.runs("demand", category, instance)}
    waiting = {sale for category, sale in coming if category in held}
    of_prices, of_charged = sales.price_inputs(session), sales.charged_inputs(session)
    ready = {sale for _, sale in coming} - waiting
    for sale in sorted(ready):
        asked.ask("prices", sale, content_hash(rules, of_prices[sale]))
    begun = sales.begun(session)
    # Both runs add to the decisions of the sale: one after the other.
    pricing = {sale for sale in ready.intersection(begun) if asked.runs("prices", sale, instance)}
    for sale in begun:
        if sale not in pricing:
            asked.ask("decisions", sale, of_charged[sale])
    return {f"demand of {category}" for category in held} | {f"prices of {s}" for s in pricing}


def _new_partitions(
    instance: dg.DagsterInstance, coming: list[tuple[str | None, str]], every: set[str]
) -> list[dg.AddDynamicPartitionsRequest]:
    wanted = ((CATEGORIES, {category for category, _ in coming if category}), (SALES, every))
    return [
        cut.build_add_request(sorted(keys - set(instance.get_dynamic_partitions(cut.name or ""))))
        for cut, keys in wanted
    ]


def _waits_for(held: set[str]) -> str:
    return f"waits for {', '.join(sorted(held))}" if held else "prices are up to date"


def _rules(settings: Settings) -> str:
    """Hash of what the merchandiser has written about prices."""
    found = sorted(p for p in settings.rules.glob("pricing*") if p.is_file())
    return content_hash(
        *(f"{path.name} {hashlib.sha256(path.read_bytes()).hexdigest()}" for path in found)
    )
