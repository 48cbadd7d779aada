"""Predictions by the actors of a Ray cluster: the rows of one process, in its order.

The list is cut into blocks where `predict_files` cuts it into chunks. Ray Data's pool of actors
predicts the blocks, each with that very function, and hands the rows back in order; which faces
share a call of the model is the same as in one process. Files are opened where they are read: what
travels are paths, addresses and rows, and bytes of archives and objects alone where a shard was
chosen among them; an actor asks a store with what its own machine has. Ray decides where
an actor runs, starts it again when its process dies, and holds back what nobody has taken yet.
Nothing is written by an actor, so that one that dies leaves nothing.

A file of rows that was interrupted is gone on with as in one process.
"""

from __future__ import annotations

import contextlib
import itertools
import logging
import os
import pickle
import signal
import socket
import sys
import tempfile
import threading
from collections import Counter
from collections.abc import Callable, Collection, Generator, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

import numpy as np

from fercli.dependencies import check_installed, explain_missing
from fercli.errors import (
    ConfigError,
    DependencyMissingError,
    DeviceUnavailableError,
    FercliError,
    InputNotFoundError,
    RunFailedError,
    SetupError,
)
from fercli.images import SIDE_PX, is_video
from fercli.images.memory import return_large_blocks
from fercli.inference import choose_labels
from fercli.model_files import ModelFile, find_model, open_runtime
from fercli.prediction.members import holds_images, open_archives
from fercli.prediction.parts import Origin
from fercli.prediction.predict import (
    FilePrediction,
    count_processors,
    pack_images,
    predict_files,
)
from fercli.prediction.sources import Member, Others
from fercli.prediction.stores import StoredObject
from fercli.prediction.summary import PredictionSummary
from fercli.prediction.weights import provide_weights
from fercli.prediction.writers import key_path

if TYPE_CHECKING:
    from types import ModuleType

    import pyarrow  # noqa: ICN001  # as `import_pyarrow` has it
    from ray.actor import ActorHandle

    from fercli.config import PredictConfig
    from fercli.inference import Runtime

__all__ = [
    "Actor",
    "Answer",
    "Block",
    "Cluster",
    "RayJob",
    "Tries",
    "check_answers",
    "cut_blocks",
    "open_cluster",
    "plan_actors",
    "predict_on_ray",
    "strip_pixels",
]

Source = Path | Member | StoredObject
"""A file, the content of one, or an object of a store, which is read where it is predicted."""
_LOG: Final = logging.getLogger(__name__)
_WHERE: Final = "RAY_ADDRESS"
"""Names a cluster; `ray job submit` sets it."""
_LATEST: Final = "ray_current_cluster"
"""Where Ray keeps the address of a machine's cluster."""
_QUIET: Final = {"RAY_USAGE_STATS_ENABLED": "0", "RAY_BACKEND_LOG_LEVEL": "fatal"}
"""No telemetry, as everywhere in fercli; and Ray's processes write into their log files alone.
What a user has set stays."""
_SILENT: Final = {"RAY_DEDUP_LOGS": "1", "RAY_DEDUP_LOGS_SKIP_REGEX": "."}
"""What Ray says of processes that died would go to stdout, where rows and JSON are alone: its
filter of repeated lines is told to skip every line."""
_PATIENCE_S: Final = 5.0
"""For an address to answer."""
_PREFACE: Final = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n" + bytes([0, 0, 0, 4, 0, 0, 0, 0, 0])
"""How a client of HTTP/2 begins, which gRPC is (RFC 9113, 3.4): a server answers with settings."""
_SETTINGS: Final = 4
"""The type of such a frame."""
_STARTS: Final = 3
"""Of a cluster of this machine's own: Ray gives it half a minute, which a busy machine may need."""
_STORE_BYTES: Final = 256 << 20
"""Shared memory of a cluster of this machine's own, for paths and rows: a block has some 100 kB."""
_BLOCK_INPUTS: Final = 256
"""Files in a block: half a second of face crops, against some ten milliseconds to hand it out."""
_BLOCK_FULL: Final = 8
"""Chunks that ended for their bytes, a MiB each at least, after which a block ends, too."""
_FIRST_BLOCKS: Final = 64
_MOST_BLOCKS: Final = 4096
"""Blocks that are listed before any of them is predicted: few at first, and never all of a list
without an end. Each such stretch starts the pool of actors anew, for some seconds."""
_TRIES: Final = 4
"""How often a block is begun: a file that ends its process would do so for ever."""
_THREADS: Final = 2
"""Of an actor with one processor: while one waits for a file, the other computes."""
_ASKED: Final = ("labels_of", "excel", "ext", "device")
"""Options of an origin that callers add."""
_SHOWN: Final = 200
_NO_CROPS: Final = np.empty((0, SIDE_PX, SIDE_PX), dtype=np.uint8)
_NO_FRAME: Final = np.empty((0, 0, 3), dtype=np.uint8)


@dataclass(frozen=True, kw_only=True)
class RayJob:
    """What every actor needs to know; small, and pickled."""

    model: str
    """A bundled model's name, or an absolute path."""
    device: str
    """`cpu` or `cuda`, which gives each actor a GPU."""
    labels_of: str | None
    """As `load`."""
    config: PredictConfig
    """What to look for, and with which weights of a detector here."""
    weights: Path | None
    """Those that somebody named; actors have the others themselves."""
    endings: frozenset[str]
    """Of the files that are taken from archives; all images where there are none."""
    origin: Origin
    """What rows come of here, and have to come of there."""
    folder: Path
    """Where relative paths start."""
    node: str = ""
    """The machine that has the list, as Ray calls it."""
    n_threads: int = _THREADS

    @classmethod
    def describe(  # noqa: PLR0913  # all that rows come of
        cls,
        found: ModelFile,
        runtime: Runtime,
        config: PredictConfig,
        *,
        device: str,
        weights: Path | None = None,
        labels_of: str | None = None,
        endings: Collection[str] = (),
        for_excel: bool = False,
    ) -> RayJob:
        """Return what actors need.

        Args:
            found: The model.
            runtime: It, open on this machine.
            config: What to look for.
            device: `auto` and `cpu` compute on processors, `cuda` on a GPU for each actor.
            weights: Of a detector, as somebody named them.
            labels_of: As `load`.
            endings: Of the files that are taken from archives.
            for_excel: Whether rows go into a CSV for spreadsheets.

        Raises:
            ConfigError: It is another device.
        """
        kind = "cpu" if device == "auto" else device
        if kind not in {"cpu", "cuda"}:
            message = f"Ray chooses its processors and GPUs: --device is cpu or cuda, not {device}"
            raise ConfigError(message)
        origin = Origin.describe(
            found.title, found.compute_digest(), runtime, config,
            labels_of=labels_of, excel=for_excel, ext=sorted(endings), device=kind,
        )  # fmt: skip
        return cls(
            model=found.bundled or str(found.path.resolve()), device=kind, labels_of=labels_of,
            config=config, weights=weights, endings=frozenset(endings), origin=origin,
            folder=Path.cwd(),
        )  # fmt: skip


@dataclass(frozen=True)
class Block:
    """What an actor predicts at a time."""

    number: int
    """Of all blocks of a command."""
    sources: tuple[Source, ...]
    """Consecutive inputs."""
    done: frozenset[str] = frozenset()
    """Those of an archive's that have their rows, as `key_path` gives them."""


@dataclass
class Answer:
    """What comes of a block."""

    predictions: list[FilePrediction] = field(default_factory=list)
    n_passed: int = 0
    """Inputs of an archive that had their rows."""
    others: Others = field(default_factory=Others)
    failure: FercliError | None = None
    """Why there is nothing; not raised there, where Ray would take it for a defect."""


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
    ray = _import_ray()
    from ray.util.scheduling_strategies import NodeAffinitySchedulingStrategy

    is_ours = not ray.is_initialized()
    address = address or os.environ.get(_WHERE)
    if is_ours and address is None:
        # It takes seconds, on a busy machine a minute.
        on_note("starting a Ray cluster of this machine's processors")
    if is_ours:
        _connect(ray, address)
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
        job = replace(job, node=node, n_threads=max(_THREADS, resources["num_cpus"]))
        yield Cluster(job, tries, n_actors, resources)
    finally:
        if is_ours:
            ray.shutdown()


def cut_blocks(
    sources: Iterable[Source],
    batch_size: int,
    done: Collection[str],
    summary: PredictionSummary,
) -> Iterator[Block]:
    """Yield the inputs that have no rows yet, in blocks that end where `predict_files` ends chunks.

    A video is a block of its own, since what is said of a frame depends on those before; so is an
    archive, which is read in one go.

    Args:
        sources: All inputs.
        batch_size: As `PredictConfig`.
        done: Inputs that have their rows, as `key_path` gives them.
        summary: Counts those that are passed over.
    """
    within = _group_by_archive(done)
    numbers = itertools.count()

    def is_left(source: Source) -> bool:
        is_done = bool(done) and key_path(str(source)) in done and not _is_packed(source)
        summary.n_resumed += is_done
        return not is_done

    for is_alone, group in itertools.groupby(filter(is_left, sources), _stands_alone):
        if is_alone:
            for source in group:
                name = key_path(str(source))
                own = {*within.get(name, ()), *([name] if name in done else [])}
                yield Block(next(numbers), (source,), frozenset(own))
            continue
        block: list[Source] = []
        n_full = 0
        for chunk in pack_images(group, batch_size):
            block += chunk
            n_full += len(chunk) < batch_size
            if len(block) >= _BLOCK_INPUTS or n_full >= _BLOCK_FULL:
                yield Block(next(numbers), tuple(block))
                block, n_full = [], 0
        if block:
            yield Block(next(numbers), tuple(block))


def _group_by_archive(done: Collection[str]) -> dict[str, set[str]]:
    """Return names of members by what may be the name of their archive."""
    within: dict[str, set[str]] = {}
    mark = f"!{os.sep}"
    for name in done:
        at = name.find(mark)
        while at >= 0:
            within.setdefault(name[:at], set()).add(name)
            at = name.find(mark, at + 1)
    return within


def _is_packed(source: Source) -> bool:
    return not isinstance(source, Member) and holds_images(source)


def _stands_alone(source: Source) -> bool:
    return _is_packed(source) or (isinstance(source, Path) and is_video(source))


def _is_read(source: Source) -> bool:
    return isinstance(source, Member)


@dataclass(frozen=True)
class _Opened:
    runtime: Runtime
    config: PredictConfig
    parallel: bool


class Tries:
    """Counts how often each block was begun, apart from those who may die of it."""

    def __init__(self) -> None:
        self._counts: Counter[int] = Counter()

    def begin(self, number: int) -> int:
        """Count a try, and return how many there were."""
        self._counts[number] += 1
        return self._counts[number]


class Actor:
    """Predicts blocks; the model is opened at the first one, where what is wrong can be answered.

    Args:
        job: What it needs to know.
        tries: An actor that counts, as `Tries`.
    """

    def __init__(self, job: RayJob, tries: ActorHandle) -> None:
        self._job = job
        self._tries = tries
        self._opened: _Opened | None = None

    def __call__(self, batch: pyarrow.Table) -> dict[str, list[bytes]]:
        """Return the answer to a block, both pickled."""
        [content] = batch["block"].to_pylist()
        block: Block = pickle.loads(content)  # noqa: S301  # made by our own driver
        try:
            self._check_tries(block)
            answer = self.answer(block)
        except FercliError as reason:
            answer = Answer(failure=reason)
        return {"answer": [pickle.dumps(answer)]}

    def answer(self, block: Block) -> Answer:
        """Return what comes of a block.

        Raises:
            FercliError: It cannot be worked on here.
        """
        if self._opened is None:
            self._opened = self._open()
        self._check_there(block)
        opened, answer = self._opened, Answer()
        predictions = predict_files(
            opened.runtime, self._unpack(block, answer), opened.config, parallel=opened.parallel,
            title=self._job.origin.model, n_threads=self._job.n_threads,
        )  # fmt: skip
        answer.predictions = [strip_pixels(prediction) for prediction in predictions]
        return answer

    def _open(self) -> _Opened:
        """Return the model, in the folder that paths start from.

        Raises:
            SetupError: Rows would come of other things here.
            FercliError: The model is not there or not whole, or has no device.
        """
        job = self._job
        # Where it is not there, files that are will be looked for by their whole paths.
        with contextlib.suppress(OSError):
            os.chdir(job.folder)
        return_large_blocks()
        on_cpu = job.device == "cpu"
        found = find_model(job.model, prefer_onnx=on_cpu)
        runtime = open_runtime(found, device=job.device, n_threads=1)
        runtime = choose_labels(runtime, job.labels_of)
        config = job.config
        weights = provide_weights(config.faces, job.weights, note=_LOG.info)
        config = replace(config, detector_weights=weights)
        asked = {name: job.origin.options[name] for name in _ASKED}
        origin = Origin.describe(job.origin.model, found.compute_digest(), runtime, config, **asked)
        if differences := origin.list_differences(job.origin):
            message = f"a Ray actor on {socket.gethostname()} would give other rows: "
            hint = "every machine of the cluster needs the same fercli, libraries and model"
            raise SetupError(message + "; ".join(differences), hint=hint)
        return _Opened(runtime, config, parallel=on_cpu and found.is_onnx)

    def _check_tries(self, block: Block) -> None:
        """Refuse a block over which this process would die, too.

        Raises:
            RunFailedError: All those before did.
        """
        import ray

        if ray.get(self._tries.begin.remote(block.number)) > _TRIES:
            first, *others = block.sources
            more = f" or one of {len(others):,} after it" if others else ""
            message = f"{_TRIES} Ray actors died over the same block of files: {first}{more}"
            hint = "leave out what they die of; --resume goes on with the rows so far"
            raise RunFailedError(message, hint=hint)

    def _check_there(self, block: Block) -> None:
        """Refuse a block of which nothing is there, on another machine than the list's.

        Raises:
            InputNotFoundError: It would come to rows that say that no file can be read.
        """
        files = [source for source in block.sources if isinstance(source, Path)]
        if len(files) < 2 or any(map(_is_there, files)):
            return
        import ray

        if ray.get_runtime_context().get_node_id() != self._job.node:
            host = socket.gethostname()
            message = (
                f"{files[0]} and {len(files) - 1:,} more are not on {host}, a machine of Ray's"
            )
            hint = "inputs have to lie where all machines of the cluster find them, by one path"
            raise InputNotFoundError(message, hint=hint)

    def _unpack(self, block: Block, answer: Answer) -> Iterator[Path | Member]:
        def is_done(path: str, _n_bytes: int | None) -> bool:
            is_there = key_path(path) in block.done
            answer.n_passed += is_there
            return is_there

        for is_read, group in itertools.groupby(block.sources, _is_read):
            if is_read:
                yield from (one for one in group if isinstance(one, Member))
                continue
            yield from open_archives(
                (one for one in group if not isinstance(one, Member)),
                endings=self._job.endings, others=answer.others, is_done=is_done,
                column=self._job.config.image_column,
            )  # fmt: skip


def strip_pixels(prediction: FilePrediction) -> FilePrediction:
    """Return a prediction without the pixels and bytes that it was made of, as it travels."""
    frame = prediction.frame
    return replace(
        prediction, crops=_NO_CROPS, content=None,
        frame=None if frame is None else replace(frame, bgr=_NO_FRAME),
    )  # fmt: skip


def _is_there(path: Path) -> bool:
    with contextlib.suppress(OSError, ValueError):
        return path.exists()
    return False


def _import_ray() -> ModuleType:
    """Return Ray with its telemetry off, and silent but for its log files.

    Raises:
        DependencyMissingError: It cannot be imported, or lacks what its data library needs.
    """
    check_installed("ray")
    for name, value in _QUIET.items():
        os.environ.setdefault(name, value)
    os.environ.update(_SILENT)
    try:
        import ray
        import ray.data
    except ImportError as reason:
        name = "ray"
        raise explain_missing(name, reason) from reason
    for handler in logging.getLogger("ray.data").handlers:
        # What goes into the log file of the session stays.
        if isinstance(handler, logging.StreamHandler) and not _LOG.isEnabledFor(logging.DEBUG):
            handler.setLevel(logging.CRITICAL)
    module: ModuleType = ray
    return module


def _connect(ray: ModuleType, address: str | None) -> None:
    """Connect, with signals acting as they did.

    Raises:
        ConfigError: It is no address of that kind.
        SetupError: Nobody answers there, or this machine is no part of that cluster.
    """
    if address is None:
        place = "a Ray cluster of this machine's own"
        options = {
            "address": "local", "num_cpus": count_processors(), "include_dashboard": False,
            "object_store_memory": _STORE_BYTES,
        }  # fmt: skip
    else:
        place = f"Ray at {address}"
        check_answers(address)
        options = {"address": address}
    is_main = threading.current_thread() is threading.main_thread()
    before = signal.getsignal(signal.SIGTERM)
    try:
        for left in reversed(range(_STARTS if address is None else 1)):
            try:
                _start(ray, options, place)
            except SetupError:
                if not left:
                    raise
                ray.shutdown()
            else:
                break
    finally:
        if is_main:
            signal.signal(signal.SIGTERM, before)


def _start(ray: ModuleType, options: dict[str, Any], place: str) -> None:
    """Call `ray.init`.

    Raises:
        SetupError: It fails.
    """
    expected = (OSError, RuntimeError, ValueError, ray.exceptions.RayError)

    def explain(kind: type[BaseException] | None, reason: BaseException | None, _: object) -> bool:
        # Where it has waited too long Ray raises no more than `Exception`.
        if kind is not None and (kind is Exception or issubclass(kind, expected)):
            message = f"{place} cannot be used: {_shorten(reason)}"
            hint = "a machine of the cluster is needed, and its Ray and Python"
            raise SetupError(message, hint=hint if "num_cpus" not in options else "") from reason
        return False

    with contextlib.ExitStack() as stack, _without_stderr():
        stack.push(explain)
        ray.init(**options, log_to_driver=False, logging_level=logging.CRITICAL)


@contextlib.contextmanager
def _without_stderr() -> Iterator[None]:
    """Drop what libraries write there past Python: Ray's says which level of log was chosen."""
    if sys.stderr is not None:
        sys.stderr.flush()
    try:
        kept = os.dup(2)
    except OSError:
        # It is closed.
        yield
        return
    with Path(os.devnull).open("wb") as nowhere:
        os.dup2(nowhere.fileno(), 2)
    try:
        yield
    finally:
        os.dup2(kept, 2)
        os.close(kept)


def check_answers(address: str) -> None:
    """Refuse an address at which no cluster answers, which Ray would ask for minutes.

    Raises:
        ConfigError: It is no `HOST:PORT`.
        SetupError: Nobody answers, or somebody else.
    """
    if address == "auto":
        # The cluster that was started last may be gone; where there was none, Ray says so at once.
        latest = Path(os.environ.get("RAY_TMPDIR") or tempfile.gettempdir(), "ray", _LATEST)
        if not latest.is_file():
            return
        address = latest.read_text(encoding="utf-8").strip()
    host, _, port = address.rpartition(":")
    if "://" in address or not host or not port.isascii() or not port.isdigit():
        message = f"--address is HOST:PORT of a Ray cluster, or auto, not {address!r}"
        raise ConfigError(message, hint="HOST:6379 of the head; ray job submit needs none")
    message = f"no Ray cluster answers at {address}"
    hint = "ray status, on a machine of the cluster, says whether it runs"
    try:
        with socket.create_connection((host.strip("[]"), int(port)), _PATIENCE_S) as connection:
            if os.environ.get("RAY_USE_TLS", "0") != "0":
                return
            connection.settimeout(_PATIENCE_S)
            connection.sendall(_PREFACE)
            answer = connection.recv(4)
    except (OSError, OverflowError) as reason:
        message = f"{message} ({_shorten(reason)})"
        raise SetupError(message, hint=hint) from reason
    if len(answer) < 4 or answer[3] != _SETTINGS:
        message = f"{message}: what does is something else"
        raise SetupError(message, hint=hint)


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
    message = f"Ray gave up: {_shorten(reason)}"
    hint = "the rows so far are kept; the same command with --resume goes on with them"
    return RunFailedError(message, hint=hint)


def _shorten(reason: BaseException | None) -> str:
    text = " ".join(str(getattr(reason, "strerror", None) or reason).split())
    return text[:_SHOWN] or type(reason).__name__
