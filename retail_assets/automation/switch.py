"""Whether schedules and sensors run without being switched on: ``automate`` in settings.toml.

Off by default: who opens the UI on a first export should not find runs she did not ask for.
What somebody has switched in the UI stays as she left it. Alerts of failed runs are always on.
"""

import dagster as dg

from retail_assets.settings import Settings

_ON = Settings.load().automate
SENSORS = dg.DefaultSensorStatus.RUNNING if _ON else dg.DefaultSensorStatus.STOPPED
SCHEDULES = dg.DefaultScheduleStatus.RUNNING if _ON else dg.DefaultScheduleStatus.STOPPED
