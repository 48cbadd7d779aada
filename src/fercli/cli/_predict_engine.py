"""Which engine `fer predict` computes with, and what goes with it."""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping
from contextlib import AbstractContextManager
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final

from fercli.dependencies import check_installed
from fercli.errors import ConfigError
from fercli.ranges import find_unknown_choice

if TYPE_CHECKING:
    from fercli.cli._output import Output
    from fercli.config import PredictConfig
    from fercli.inference import Runtime
    from fercli.model_files import ModelFile
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

    def describe_job(  # all that rows come of
        self,
        found: ModelFile,
        runtime: Runtime,
        config: PredictConfig,
        *,
        device: str,
        labels_of: str | None,
        endings: Collection[str],
        for_excel: bool,
        typed: Mapping[str, Any],
    ) -> RayJob | None:
        """Return what actors have to know; None where there are none.

        Raises:
            ConfigError: It is a device that cannot be chosen there.
        """
        if not self.on_ray:
            return None
        from fercli.ray_engine import RayJob

        return RayJob.describe(
            found, runtime, config, device=device, weights=typed.get("detector_weights"),
            labels_of=labels_of, endings=endings, for_excel=for_excel,
        )  # fmt: skip

    def prepare(
        self, job: RayJob | None, output: Output
    ) -> Callable[[], AbstractContextManager[Cluster]] | None:
        """Return what connects to the cluster; None where there is none."""
        if job is None:
            return None
        from fercli.ray_engine import open_cluster

        return lambda: open_cluster(job, self.address, output.note)


def choose_engine(engine: str, address: str | None, alone: Mapping[str, object]) -> Engine:
    """Return the engine that was asked for.

    Args:
        engine: What was typed.
        address: What was typed.
        alone: Options that are of one process, which has the pixels, with what was typed.

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
            for flag, value in alone.items()
            if value
        ]
    if problems:
        raise ConfigError(*problems)
    if on_ray:
        check_installed("ray")
    return Engine(address, on_ray)
