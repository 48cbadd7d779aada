from __future__ import annotations

import math

import pytest

from fercli.config import OptimizerConfig
from fercli.training.schedule import compute_learning_rate, compute_momentum, count_drops


@pytest.mark.parametrize("schedule", ["constant", "step", "plateau", "cosine", "linear"])
def test_schedules_at_their_corners(schedule: str) -> None:
    config = OptimizerConfig(
        learning_rate=1.0, schedule=schedule, warmup=0.1, final_factor=0.05, step_epochs=2
    )
    rates = [
        compute_learning_rate(config, step, total_steps=100, drops=step // 20)
        for step in range(100)
    ]

    assert rates[0] == pytest.approx(1 / 11)
    assert max(rates) == rates[10] == 1
    last = {"constant": 1.0, "step": 0.1**4, "plateau": 0.1**4, "cosine": 0.05, "linear": 0.05}[
        schedule
    ]
    assert rates[-1] == pytest.approx(last)
    assert all(math.isfinite(rate) and rate > 0 for rate in rates)
    if schedule == "step":
        assert rates[19] == 1
        assert rates[20] == pytest.approx(0.1)


def test_a_run_of_one_step_has_a_rate() -> None:
    config = OptimizerConfig(learning_rate=1.0, warmup=0.0)

    assert compute_learning_rate(config, 0, total_steps=1) == 1


def test_one_cycle_rises_and_falls_against_the_momentum() -> None:
    config = OptimizerConfig(
        learning_rate=1.0, schedule="onecycle", warmup=0.3, final_factor=0.001, momentum=0.95
    )
    rates = [compute_learning_rate(config, step, total_steps=100) for step in range(100)]
    momenta = [compute_momentum(config, step, total_steps=100) for step in range(100)]

    assert rates[0] == pytest.approx(0.04)
    assert max(rates) == rates[30] == pytest.approx(1.0)
    assert rates[-1] == pytest.approx(0.001)
    assert rates[:31] == sorted(rates[:31])
    assert rates[30:] == sorted(rates[30:], reverse=True)
    assert momenta[0] == momenta[-1] == pytest.approx(0.95)
    assert min(momenta) == momenta[30] == pytest.approx(0.85)
    assert compute_momentum(OptimizerConfig(momentum=0.7), 5, total_steps=10) == 0.7


def test_plateau_drops_after_patience() -> None:
    assert count_drops([], 2) == 0
    assert count_drops([0.1, 0.2, 0.3], 2) == 0
    assert count_drops([0.3, 0.2, 0.2], 2) == 1
    assert count_drops([0.3, 0.2, 0.2, 0.2], 2) == 1
    assert count_drops([0.3, 0.2, 0.2, 0.2, 0.3], 2) == 2
    assert count_drops([0.3, 0.2, 0.4, 0.2, 0.2], 2) == 1
