from __future__ import annotations

import pytest
import torch
from torch.nn import functional

from fercli.settings import build_config
from fercli.training.loss import build_criterion, compute_loss, one_hot, soften

EQUAL = torch.full((7,), 10)
SKEWED = torch.tensor([40, 4, 40, 72, 48, 32, 50])


def draw(*shape: int, seed: int = 0) -> torch.Tensor:
    return torch.randn(shape, generator=torch.Generator().manual_seed(seed))


def test_a_student_that_agrees_has_nothing_to_learn() -> None:
    config = build_config({"teacher_weight": 1.0, "teacher_temperature": 3.0})
    logits = draw(6, 7).requires_grad_()
    labels = torch.zeros(6, dtype=torch.int64)
    targets = soften(torch.softmax(logits.detach(), dim=1), 3.0)

    torch.autograd.backward(compute_loss(logits, labels, build_criterion(config, EQUAL), targets))

    assert logits.grad is not None
    assert float(logits.grad.abs().max()) < 1e-6


def test_labels_and_teacher_are_weighted() -> None:
    config = build_config(
        {"teacher_weight": 0.25, "teacher_temperature": 1.0, "label_smoothing": 0.0}
    )
    logits, labels = draw(6, 7), torch.arange(6)
    other = functional.one_hot(torch.full((6,), 6), 7).float()

    criterion = build_criterion(config, EQUAL)
    loss = compute_loss(logits, labels, criterion, other)

    hard = functional.cross_entropy(logits, labels)
    taught = functional.cross_entropy(logits, torch.full((6,), 6))
    assert loss == pytest.approx(float(0.75 * hard + 0.25 * taught))
    assert compute_loss(logits, labels, criterion) == hard


def test_softening() -> None:
    probabilities = torch.softmax(draw(5, 7), dim=1)

    assert torch.allclose(soften(probabilities, 1.0), probabilities, atol=1e-6)
    assert torch.allclose(soften(probabilities, 1e4), torch.full((5, 7), 1 / 7), atol=1e-3)
    assert torch.isfinite(soften(torch.eye(7), 2.0)).all()


@pytest.mark.parametrize("smoothing", [0.0, 0.1])
def test_labels_and_probabilities_give_the_same_loss(smoothing: float) -> None:
    logits, labels = draw(20, 7), torch.arange(20) % 7
    plain = build_criterion(build_config({"label_smoothing": smoothing}), SKEWED)
    weighted = build_criterion(
        build_config({"label_smoothing": smoothing, "balance": "weights"}), SKEWED
    )

    for criterion in (plain, weighted):
        assert compute_loss(logits, labels, criterion) == pytest.approx(
            float(compute_loss(logits, one_hot(labels, 7), criterion)), rel=1e-6
        )


@pytest.mark.parametrize("power", [0.5, 1.0])
def test_weights_are_inverse_frequencies_of_mean_one(power: float) -> None:
    config = build_config({"balance": "weights", "balance_power": power, "label_smoothing": 0.0})
    criterion = build_criterion(config, SKEWED)

    assert criterion.weights is not None
    assert float((criterion.weights * SKEWED).sum() / SKEWED.sum()) == pytest.approx(1)
    ratio = float(criterion.weights[1] / criterion.weights[3])
    assert ratio == pytest.approx(18**power, rel=1e-5)
    logits, labels = draw(20, 7), torch.arange(20) % 7
    each = functional.cross_entropy(logits, labels, reduction="none")
    expected = float((each * criterion.weights[labels]).mean())
    assert compute_loss(logits, labels, criterion) == pytest.approx(expected)


def test_a_label_nobody_has_does_not_spoil_the_weights() -> None:
    counts = torch.tensor([5, 0, 5])
    criterion = build_criterion(
        build_config({"balance": "weights", "logit_adjustment": 1.0}), counts
    )

    assert torch.isfinite(compute_loss(draw(4, 3), torch.tensor([0, 2, 0, 2]), criterion))


def test_focal_loss_is_the_published_formula() -> None:
    config = build_config({"focal_gamma": 2.0, "label_smoothing": 0.0})
    logits, labels = draw(20, 7), torch.arange(20) % 7
    right = torch.softmax(logits, dim=1)[torch.arange(20), labels]

    expected = float((-((1 - right) ** 2) * right.log()).mean())

    assert compute_loss(logits, labels, build_criterion(config, EQUAL)) == pytest.approx(expected)


def test_focal_loss_has_a_gradient_where_everything_is_right() -> None:
    config = build_config({"focal_gamma": 0.5, "label_smoothing": 0.0})
    logits = (100 * torch.eye(7)).requires_grad_()

    torch.autograd.backward(compute_loss(logits, torch.arange(7), build_criterion(config, EQUAL)))

    assert logits.grad is not None
    assert bool(torch.isfinite(logits.grad).all())


def test_logit_adjustment_favors_what_is_rare() -> None:
    config = build_config({"logit_adjustment": 1.0, "label_smoothing": 0.0})
    criterion = build_criterion(config, SKEWED)
    logits, labels = draw(20, 7), torch.arange(20) % 7

    prior = (SKEWED / SKEWED.sum()).log()

    expected = functional.cross_entropy(logits + prior, labels)
    assert compute_loss(logits, labels, criterion) == pytest.approx(float(expected))
    # Logits all alike mean the frequencies of the data, so a rare label costs more.
    rare = compute_loss(torch.zeros(1, 7), torch.tensor([1]), criterion)
    assert rare > compute_loss(torch.zeros(1, 7), torch.tensor([3]), criterion)
