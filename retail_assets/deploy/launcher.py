"""Runs as Celery tasks, with an eye on the worker. Imported by dagster.yaml's name only.

A worker that is killed cannot say so: its task stays STARTED in the result store for ever,
and Dagster's own launcher believes that. This one asks the worker.
"""

from __future__ import annotations

import warnings

from dagster import DagsterRun
from dagster._core.launcher import CheckRunHealthResult, ResumeRunContext, WorkerStatus
from dagster._grpc.types import ResumeRunArgs
from dagster._serdes import pack_value
from dagster_celery.config import TASK_RESUME_JOB_NAME
from dagster_celery.launcher import CeleryRunLauncher
from dagster_celery.tags import DAGSTER_CELERY_TASK_ID_TAG
from dagster_celery.tasks import create_resume_job_task

# dagster-celery declares its task again at each launch, only to name it: known, harmless.
warnings.filterwarnings("ignore", message="Task name '(execute|resume)_job' is already")

ANSWER_SECONDS = 5.0
"""A worker's main process answers in 10 ms while its children compute; 5 s on a busy machine."""

ATTEMPTS = 3
"""Silence this often means gone. A wrong verdict costs work, not rows: commits are atomic."""


class WatchfulCeleryRunLauncher(CeleryRunLauncher):
    """``CeleryRunLauncher`` that knows a lost worker from a busy one.

    Where dagster.yaml allows ``max_resume_run_attempts``, a run whose worker was killed goes
    on at another one.
    """

    def check_run_worker_health(self, run: DagsterRun) -> CheckRunHealthResult:
        """Whether somebody works, or will, on a run that has started."""
        health: CheckRunHealthResult = super().check_run_worker_health(run)
        if health.status == WorkerStatus.UNKNOWN:
            # Resumed, and every worker is busy. Without this the next look, 20 s later,
            # would resume it again, until no attempt is left.
            return CheckRunHealthResult(WorkerStatus.RUNNING, "waits for a worker")
        if health.status != WorkerStatus.RUNNING:
            return health
        task = run.tags[DAGSTER_CELERY_TASK_ID_TAG]
        worker = (self.celery.AsyncResult(task).info or {}).get("hostname")
        if worker is None or self._has(worker, task):
            return health
        # It may have ended between the two questions: only a task still marked is lost.
        health = super().check_run_worker_health(run)
        if health.status != WorkerStatus.RUNNING:
            return health
        return CheckRunHealthResult(WorkerStatus.FAILED, f"worker {worker} lost task {task}")

    def resume_run(self, context: ResumeRunContext) -> None:
        """Send a started run to another worker, which does its steps again.

        That of dagster-celery 0.29.27 names the task's argument as the other task does, and
        Celery refuses it ("unexpected keyword argument 'execute_job_args_packed'").
        """
        run = context.dagster_run
        if run.job_code_origin is None:
            raise ValueError(f"run {run.run_id} does not say which code it runs")
        args = ResumeRunArgs(
            job_origin=run.job_code_origin,
            run_id=run.run_id,
            instance_ref=self._instance.get_ref(),
            set_exit_code_on_failure=True,
        )
        task = create_resume_job_task(self.celery)
        self._launch_celery_task_run(
            run=run,
            task_signature=task.si(resume_job_args_packed=pack_value(args)),
            routing_key=TASK_RESUME_JOB_NAME,
        )

    def _has(self, worker: str, task: str) -> bool:
        """Whether a worker answers, and says that it has the task.

        A worker started anew under the same name answers and does not have it.
        """
        inspect = self.celery.control.inspect(destination=[worker], timeout=ANSWER_SECONDS)
        for _ in range(ATTEMPTS):
            answer = inspect.query_task(task)
            if answer is not None and worker in answer:
                return task in answer[worker]
        return False
