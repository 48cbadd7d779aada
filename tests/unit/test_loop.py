from __future__ import annotations

from fercli.settings import build_config
from fercli.training.loop import choose_size


def test_sizes_grow_and_every_run_ends_at_the_last() -> None:
    def sizes(epochs: int) -> list[int]:
        config = build_config({"epochs": epochs, "sizes_px": (32, 40, 48)})
        return [choose_size(config, epoch) for epoch in range(epochs)]

    assert sizes(1) == [48]
    assert sizes(2) == [32, 48]
    assert sizes(6) == [32, 32, 40, 40, 48, 48]
