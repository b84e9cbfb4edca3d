"""The Celery app of a worker under the profile ``cluster``.

``celery -A retail_assets.deploy.worker worker -c 2 -n one@%h`` on every machine that
shall execute runs; ``-c`` runs at a time, each in a process that stays warm.
"""

from __future__ import annotations

import os

from celery import Celery
from celery.signals import worker_process_init
from dagster_celery.make_app import make_app
from dagster_celery.tasks import create_execute_job_task, create_resume_job_task

from retail_assets.deploy import REDIS_VARIABLE
from retail_assets.errors import SettingsError

CONFIG = {
    # A worker takes a run when a process is free for it, so a killed one holds none back:
    # what Redis believes taken comes back after an hour only.
    "worker_disable_prefetch": True,
    "worker_prefetch_multiplier": 1,
    # Gives memory back; the first models run of a fresh process compiles for 25 s.
    "worker_max_tasks_per_child": 50,
    "result_expires": 86400,  # four times the longest run dagster.yaml allows
    "accept_content": ["json"],
    "broker_connection_retry_on_startup": True,
}


def worker_app() -> Celery:
    """The app, on the Redis that the environment names.

    Raises
    ------
    SettingsError
        When it names none.
    """
    redis = os.environ.get(REDIS_VARIABLE)
    if not redis:
        raise SettingsError(f"{REDIS_VARIABLE} is not set; give it the address of Redis")
    app_args = {"broker": redis, "backend": redis, "config_source": CONFIG}
    made: Celery = make_app(app_args)  # type: ignore[no-untyped-call]
    create_execute_job_task(made)
    create_resume_job_task(made)
    made.conf.task_default_queue = "dagster"
    return made


@worker_process_init.connect
def load_definitions(**_: object) -> None:
    """Before the first run is taken: a worker lost with a run not yet started costs 5 minutes."""
    import retail_assets.definitions  # noqa: F401


app = worker_app()
