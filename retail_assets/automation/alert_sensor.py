"""A failed run becomes an alert: a row of ``alerts``, and a call of the webhook if there is one."""

from __future__ import annotations

import dagster as dg

from retail_assets import alerts
from retail_assets.warehouse import Warehouse


@dg.run_failure_sensor(
    name="alert_sensor",
    default_status=dg.DefaultSensorStatus.RUNNING,
    description="Notes each failed run in alerts, and tells RETAIL_ASSETS_WEBHOOK.",
)
def alert_sensor(
    context: dg.RunFailureSensorContext, warehouse: dg.ResourceParam[Warehouse]
) -> None:
    """Told first, noted then: a full disk is worth a call."""
    alert = alerts.sent(alerts.alert_of(context.instance, context.dagster_run))
    if alert.send_error:
        context.log.warning(f"alert not sent: {alert.send_error}")
    rows = alerts.note(warehouse, [alert])
    context.instance.report_runless_asset_event(
        dg.AssetMaterialization("alerts", metadata={"dagster/row_count": rows})
    )
