"""The check of the sampler fails when what drew the posterior failed."""

import re
from pathlib import Path

import pytest

import retail_assets
from retail_assets.checks.model_checks import CHECKS, MAX_KHAT, sampler_converged

GOOD = {
    "nuts": {"khat": 0.9, "rhat": 1.004, "min_ess": 300.0},
    "gibbs": {"khat": None, "rhat": None, "min_ess": 150.0},
    "variational": {"khat": 0.3, "rhat": None, "min_ess": None},
}


@pytest.mark.parametrize("engine", GOOD)
def test_a_healthy_fit_passes(engine):
    # NUTS answers for itself: the k-hat that sent the category to it is no fault.
    assert sampler_converged(engine, **GOOD[engine])


@pytest.mark.parametrize(
    ("engine", "fault"),
    [
        ("nuts", {"rhat": 1.02}),
        ("nuts", {"rhat": None}),
        ("nuts", {"min_ess": 55.0}),
        ("gibbs", {"min_ess": 20.0}),
        ("variational", {"khat": 0.6}),
        ("variational", {"khat": None}),
        ("laplace", {"khat": 0.8}),
    ],
)
def test_each_engine_fails_by_its_own_figure(engine, fault):
    figures = GOOD.get(engine, GOOD["variational"]) | fault
    check = next(check for check in CHECKS if check.name == "sampler_converged")
    assert not sampler_converged(engine, **figures)
    assert not check.passed({"engine": engine, **figures})


def test_the_threshold_is_the_gate_that_sends_a_fit_to_nuts():
    # Read, not imported: the gate's module needs jax.
    code = Path(retail_assets.__file__).parent / "models/substitution/variational.py"
    gate = re.search(r"^GATE = ([\d.]+)$", code.read_text(), re.MULTILINE)
    assert gate is not None
    assert float(gate[1]) == MAX_KHAT
