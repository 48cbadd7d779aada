"""Which engine `fer predict` computes with, and what goes with it."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

from fercli.dependencies import check_installed
from fercli.errors import ConfigError
from fercli.ranges import find_unknown_choice

if TYPE_CHECKING:
    from fercli.cli._output import Output
    from fercli.cli._predict_request import OpenModel, PredictRequest
    from fercli.ray_engine import Cluster, RayJob

__all__ = ["ENGINES", "Engine", "choose_engine"]

ENGINES: Final = ("local", "ray")


@dataclass(frozen=True)
class Engine:
    """What predicts: this process, or the actors of a Ray cluster."""

    address: str | None = None
    """Of the cluster."""
    on_ray: bool = False

    def name_own_device(self, device: str) -> str:
        """Return where this process opens the model: with actors it wants the labels alone."""
        return "cpu" if self.on_ray else device

    def describe_job(self, model: OpenModel, request: PredictRequest) -> RayJob | None:
        """Return what actors have to know; None where there are none.

        Args:
            model: What is to be run.
            request: What was typed.

        Raises:
            ConfigError: It is a device that cannot be chosen there.
        """
        if not self.on_ray:
            return None
        from fercli.ray_engine import RayJob

        return RayJob.describe(
            model.file, model.runtime, model.config, device=model.device,
            weights=request.fields.get("detector_weights"), labels_of=request.labels_of,
            endings=request.endings, for_excel=request.for_excel,
        )  # fmt: skip

    def prepare(
        self, job: RayJob | None, output: Output
    ) -> Callable[[], AbstractContextManager[Cluster]] | None:
        """Return what connects to the cluster; None where there is none."""
        if job is None:
            return None
        from fercli.ray_engine import open_cluster

        return lambda: open_cluster(job, self.address, output.note)


def choose_engine(engine: str, address: str | None, alone: Sequence[str]) -> Engine:
    """Return the engine that was asked for.

    Args:
        engine: What was typed.
        address: What was typed.
        alone: Options that were typed and are of one process, which has the pixels.

    Raises:
        ConfigError: There is no such engine, or it does not go with other options.
        DependencyMissingError: There is no Ray.
    """
    on_ray = engine == "ray"
    problems = find_unknown_choice("engine", engine, ENGINES)
    if address is not None and not on_ray:
        problems.append("--address names a Ray cluster: give --engine ray with it")
    if on_ray:
        problems += [
            f"{flag} needs the pixels, but Ray returns rows only: leave it out with --engine ray"
            for flag in alone
        ]
    if problems:
        raise ConfigError(*problems)
    if on_ray:
        check_installed("ray")
    return Engine(address, on_ray)
