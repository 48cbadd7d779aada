"""The cluster: connected to, asked for actors, and handed blocks; what comes back is in order."""

from __future__ import annotations

import contextlib
import itertools
import logging
import os
import pickle
from collections.abc import Callable, Collection, Generator, Iterable, Iterator, Mapping, Sequence
from dataclasses import replace
from typing import TYPE_CHECKING, Any, Final

from fercli.errors import (
    DependencyMissingError,
    DeviceUnavailableError,
    FercliError,
    RunFailedError,
)
from fercli.prediction.summary import PredictionSummary
from fercli.ray_engine.actor import Actor, Tries
from fercli.ray_engine.blocks import cut_blocks
from fercli.ray_engine.connection import connect, import_ray, shorten
from fercli.ray_engine.job import ACTOR_THREADS

if TYPE_CHECKING:
    from ray.actor import ActorHandle

    from fercli.prediction.answers import FilePrediction
    from fercli.ray_engine.blocks import Answer, Block, Source
    from fercli.ray_engine.job import RayJob

__all__ = ["Cluster", "open_cluster", "plan_actors", "predict_on_ray"]

_LOG: Final = logging.getLogger(__name__)
_WHERE: Final = "RAY_ADDRESS"
"""Names a cluster; `ray job submit` sets it."""
_FIRST_BLOCKS: Final = 64
_MOST_BLOCKS: Final = 4096
"""Blocks that are listed before any of them is predicted: few at first, and never all of a list
without an end. Each such stretch starts the pool of actors anew, for some seconds."""


class Cluster:
    """A cluster that this process is connected to; `open_cluster` makes one.

    Args:
        job: What actors need to know.
        tries: An actor that counts, as `Tries`.
        n_actors: At most.
        resources: Of each, as Ray has it.
    """

    def __init__(
        self, job: RayJob, tries: ActorHandle, n_actors: int, resources: Mapping[str, Any]
    ) -> None:
        self._job = job
        self._tries = tries
        self._n_actors = n_actors
        self._resources = resources

    def predict(
        self,
        sources: Iterable[Source],
        *,
        done: Collection[str] = frozenset(),
        summary: PredictionSummary | None = None,
    ) -> Generator[FilePrediction, None, None]:
        """Yield what is said of each image and of each sampled frame of a video, in order.

        The crops of faces, the pixels of frames and the contents of archives stay where they were
        read.

        Args:
            sources: Images, videos and archives; the latter are opened by the actors.
            done: Inputs that have their rows, as `key_path` gives them.
            summary: Counts what is passed over.

        Raises:
            FercliError: An actor cannot do the work; what it said.
            SetupError: It has another fercli, other libraries or another model.
            RunFailedError: Actors died again and again over the same files.
        """
        summary = summary or PredictionSummary(self._job.origin.labels, rows=None)
        blocks = cut_blocks(sources, self._job.config.batch_size, done, summary)
        at_once = _FIRST_BLOCKS
        while stretch := list(itertools.islice(blocks, at_once)):
            with contextlib.closing(self._run(stretch)) as answers:
                for answer in answers:
                    if answer.failure is not None:
                        raise answer.failure
                    summary.n_resumed += answer.n_passed
                    summary.others.n_files += answer.others.n_files
                    summary.others.n_packed_videos += answer.others.n_packed_videos
                    yield from answer.predictions
            at_once = min(4 * at_once, _MOST_BLOCKS)

    def _run(self, blocks: Sequence[Block]) -> Generator[Answer, None, None]:
        import ray
        from ray.data import ActorPoolStrategy, DataContext, from_items

        context = DataContext.get_current().copy()
        context.execution_options.preserve_order = True
        context.enable_progress_bars = False
        context.print_on_execution_start = False
        items = [{"block": pickle.dumps(block)} for block in blocks]
        n_actors = min(self._n_actors, len(blocks))
        # All that can be had begin at once; one is enough to go on.
        pool = ActorPoolStrategy(min_size=1, initial_size=n_actors, max_size=n_actors)
        with DataContext.current(context):
            answers = from_items(items, override_num_blocks=len(items)).map_batches(
                Actor, fn_constructor_args=(self._job, self._tries), batch_size=1,
                batch_format="pyarrow", compute=pool, **self._resources,
            )  # fmt: skip
        batches = iter(answers.iter_batches(batch_size=None, batch_format="pyarrow"))
        try:
            # Closed in step with this generator: nothing is predicted for somebody who has gone.
            with contextlib.closing(batches):
                for batch in batches:
                    for content in batch["answer"].to_pylist():
                        yield pickle.loads(content)  # noqa: S301  # made by our own actors
        except ray.exceptions.UserCodeException:
            # A defect of ours, and to be seen as one.
            raise
        except ray.exceptions.RayError as reason:
            raise _explain_loss(reason) from reason


def predict_on_ray(
    job: RayJob, sources: Iterable[Source], address: str | None = None
) -> Generator[FilePrediction, None, None]:
    """Yield what `Cluster.predict` does, connected for as long as there is more.

    Args:
        job: What actors need to know.
        sources: Images, videos and archives.
        address: As `open_cluster`.

    Raises:
        FercliError: As `open_cluster` and `Cluster.predict`.
    """
    with open_cluster(job, address) as cluster:
        yield from cluster.predict(sources)


@contextlib.contextmanager
def open_cluster(
    job: RayJob,
    address: str | None = None,
    on_note: Callable[[str], object] = _LOG.info,
) -> Iterator[Cluster]:
    """Connect to a cluster, or start one of this machine's processors, for as long as the block.

    A connection that is there already is used, and stays.

    Args:
        job: What actors need to know.
        address: `HOST:PORT`, or `auto` for the cluster that this machine is part of; None for what
            `RAY_ADDRESS` says, and where it says nothing, for a cluster of its own.
        on_note: Takes a sentence on what is waited for.

    Raises:
        DependencyMissingError: There is no Ray.
        ConfigError: It is no such address.
        SetupError: Nobody answers there, or this machine is no part of that cluster.
        DeviceUnavailableError: There is no GPU, and one was asked for.
    """
    ray = import_ray()
    from ray.util.scheduling_strategies import NodeAffinitySchedulingStrategy

    is_ours = not ray.is_initialized()
    address = address or os.environ.get(_WHERE)
    if is_ours and address is None:
        # It takes seconds, on a busy machine a minute.
        on_note("starting a Ray cluster of this machine's processors")
    if is_ours:
        connect(ray, address)
    try:
        n_actors, resources = plan_actors(ray.nodes(), job.device)
        wanted = "CPU" if job.device == "cpu" else "GPU"
        if ray.available_resources().get(wanted, 0) < 1:
            on_note(f"the cluster's {wanted}s are all taken: waiting for one")
        node = ray.get_runtime_context().get_node_id()
        here = NodeAffinitySchedulingStrategy(node, soft=False)
        lasting = {"max_restarts": -1, "max_task_retries": -1}
        counting = ray.remote(Tries).options(num_cpus=0, scheduling_strategy=here, **lasting)
        tries = counting.remote()
        job = replace(job, node=node, n_threads=max(ACTOR_THREADS, resources["num_cpus"]))
        yield Cluster(job, tries, n_actors, resources)
    finally:
        if is_ours:
            ray.shutdown()


def plan_actors(nodes: Sequence[Mapping[str, Any]], device: str) -> tuple[int, dict[str, int]]:
    """Return how many actors a cluster has room for, and what each of them takes.

    Every actor has a processor, and nothing else runs beside them that would need one. With GPUs,
    each has one of them and its share of the processors, which read and look for faces.

    Args:
        nodes: As `ray.nodes` gives them.
        device: `cpu` or `cuda`.

    Raises:
        DeviceUnavailableError: There is no GPU, and one was asked for.
    """
    every = [node["Resources"] for node in nodes if node["Alive"]]
    if device == "cpu":
        return max(1, sum(int(one.get("CPU", 0)) for one in every)), {"num_cpus": 1}
    with_gpus = [one for one in every if one.get("GPU", 0) >= 1]
    if not with_gpus:
        message = "no machine of the Ray cluster has a GPU"
        raise DeviceUnavailableError(message, hint="--device cpu")
    n_cpus = min(int(one.get("CPU", 0) // one["GPU"]) for one in with_gpus)
    return sum(int(one["GPU"]) for one in with_gpus), {"num_cpus": n_cpus, "num_gpus": 1}


def _explain_loss(reason: Exception) -> FercliError:
    """Return what is to be raised for an error of Ray's."""
    text = str(reason)
    if "No module named 'fercli'" in text:
        message = "fercli is not installed where the actors of the Ray cluster run"
        hint = "pip install fercli, the same version, on every machine of the cluster"
        return DependencyMissingError(message, hint=hint)
    message = f"Ray failed: {shorten(reason)}"
    hint = "the rows so far are kept; run the same command with --resume to continue"
    return RunFailedError(message, hint=hint)
