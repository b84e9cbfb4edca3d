"""What follows its inputs by itself.

An asset named in ``FOLLOWS`` is requested when one of the inputs named there was written:
once, whether its run ends well or not, until the next write. Without that edge a failing run
is asked for again at each tick: 2,880 times a day. A reference table counts as written when
its content changed; it is read again with every landed file.

Only inputs that start a run stand here; the rest is read as it is. Of inputs cut another way
(all days, all categories) nothing is asked but that none is at work: "no day missing" and
"no check of any day failed" would wait for ever. Receipts and models are asked for by the
sensors and schedules.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from datetime import timedelta

import dagster as dg

from retail_assets import contract
from retail_assets.automation import jobs, switch
from retail_assets.automation.freshness import cadence, policies
from retail_assets.settings import Settings

When = dg.AutomationCondition

KNOWN_DAYS = timedelta(days=7)
"""What the last days knew is learnt again when earlier receipts come late; not what older ones
did."""

FOLLOWS: Mapping[str, tuple[str, ...]] = {
    **dict.fromkeys(jobs.PLANS, ("substitution_posterior",)),
    **dict.fromkeys(jobs.DEMAND, ("substitution_rates", "demand_model", "price_calendar")),
    **dict.fromkeys((jobs.TRIALS,), ("pos_lines",)),
    **dict.fromkeys(jobs.COLD_START, ("pos_trials", "style_trials")),
    **dict.fromkeys(jobs.STOCK, ("cold_start_posterior", "stock", "shipments", "shelf")),
}
"""Asset, and the inputs that start it. To let another job follow, add its assets here."""


def kept_up(settings: Settings) -> Callable[[dg.AssetSpec], dg.AssetSpec]:
    """What gives each spec the condition that requests it and the time from which it is late.

    For ``AssetsDefinition.map_asset_specs``.
    """
    due = policies(settings)

    def with_upkeep(spec: dg.AssetSpec) -> dg.AssetSpec:
        often = cadence(spec.key.to_user_string())
        return spec.replace_attributes(
            automation_condition=condition_of(spec),
            freshness_policy=due.get(often),
            tags={**spec.tags, "cadence": often.replace(" ", "_")},
        )

    return with_upkeep


def condition_of(spec: dg.AssetSpec) -> dg.AutomationCondition | None:
    """What requests an asset; None where a sensor, a schedule or a person does."""
    name = spec.key.to_user_string()
    if name in jobs.REPORTS:
        # Anything written starts the first, each of the others follows the one before it. A mirror
        # decides nothing: it shows the rows that failed a check, too. Alerts, which the first does
        # not read, start no run: that of a failed publication would start the next.
        at = jobs.REPORTS.index(name)
        before = _among(jobs.REPORTS[at - 1 : at])
        written = When.any_deps_match(_WRITTEN | When.will_be_requested())
        return _once(written.allow(before) if at else written) & _AT_REST
    return _follows(spec, FOLLOWS[name]) if name in FOLLOWS else None


# A run that writes an input and the asset itself has already followed.
_WRITTEN = When.newly_updated() & ~When.executed_with_root_target()
_CHANGED = When.data_version_changed() & ~When.executed_with_root_target()
# `all_deps_blocking_checks_passed()` does not see that an input of the same run brings its
# checks along; within a run Dagster stops at a failed one.
_PASSED = When.all_checks_match(When.check_passed(), blocking_only=True)
_AT_REST = ~When.any_deps_in_progress() & ~When.in_progress()


def _once(event: When) -> When:
    """True from an event until the next request.

    Not until the next write, as ``eager()`` has it, and not where the event and the request
    fall between the same two ticks: what was written while the run lasted would be forgotten.
    """
    return event.since((When.newly_requested() & ~event) | When.initial_evaluation())


def _follows(spec: dg.AssetSpec, starts: Iterable[str]) -> When:
    """The condition of one asset; inputs cut another way are those with a partition mapping."""
    landed = {name for name in starts if name in contract.tables() and _is_landed(name)}
    written = _among(set(starts) - landed)
    same_cut = _among(dep.asset_key.to_user_string() for dep in spec.deps if _same_cut(dep))
    started: When = When.any_deps_match(_WRITTEN | When.will_be_requested()).allow(written)
    if landed:
        started = started | When.any_deps_match(_CHANGED).allow(_among(landed))
    condition = (
        _once(started)
        & ~When.any_deps_missing().allow(same_cut)
        & When.all_deps_match(_PASSED | When.will_be_requested()).allow(same_cut)
        & _AT_REST
    )
    if spec.key.to_user_string() in jobs.COLD_START:
        # What today knows is not known before today ends.
        recent = When.in_latest_time_window(KNOWN_DAYS + timedelta(days=1))
        condition = condition & recent & ~When.in_latest_time_window()
    return condition


def _same_cut(dep: dg.AssetDep) -> bool:
    return dep.partition_mapping is None


def _is_landed(name: str) -> bool:
    return contract.table(name).landed


def _among(names: Iterable[str]) -> dg.AssetSelection:
    return dg.AssetSelection.assets(*sorted(names))


follow_inputs = dg.AutomationConditionSensorDefinition(
    "follow_inputs",
    target=dg.AssetSelection.all(),
    minimum_interval_seconds=30,
    default_status=switch.SENSORS,
    description="Requests the assets whose inputs were written, as automation/conditions.py says.",
)
