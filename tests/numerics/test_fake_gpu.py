"""Every recipe's real epochs on a GPU that is not there.

torch's FakeTensorMode computes shapes, types, memory orders and devices, but no numbers, as a GPU's
kernels would, and refuses to mix devices. Without a driver it lacks generators, answers about the
device, and the backward pass, for which torch's engine asks for a real one: it is walked in Python.
"""

# ruff: noqa: SLF001  # it stands in for what torch does not let one replace otherwise
from __future__ import annotations

import contextlib
import dataclasses
import traceback
from collections import Counter
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Self
from unittest import mock

import numpy as np
import pytest
import torch
from torch import Tensor, nn
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves

from fercli.data import build_synthetic
from fercli.emotions import LABELS
from fercli.metadata import ModelMetadata, TeacherRecord
from fercli.networks.runtime import TorchRuntime
from fercli.recipes import RECIPES
from fercli.runs import RunFolder
from fercli.settings import build_config
from fercli.training import loop, step
from fercli.training.callbacks import Callbacks, RunLog
from fercli.training.context import TrainingContext
from fercli.training.distillation.consistent import ConsistentTeacher
from fercli.training.distillation.teacher import Teacher
from fercli.training.distributed import ALONE
from fercli.training.loop import run_epochs
from fercli.training.process import keep_generators
from fercli.training.setup import put_on_device, start
from fercli.training.splits import choose_splits
from fercli.training.step import build_sums

fake_tensor = pytest.importorskip("torch._subclasses.fake_tensor")
prims = pytest.importorskip("torch._prims_common")

CUDA = torch.device("cuda", 0)
GPU_SEED = 2**40 + 1
WAITS = {"_local_scalar_dense", "is_nonzero", "equal", "nonzero", "masked_select", "bincount"}
ANSWERS: dict[str, Callable[[Tensor], Any]] = {
    # Counts are on the CPU and divide; what is read from the GPU must be finite.
    "_local_scalar_dense": lambda number: 0.0 if number.device == CUDA else 2.0,
    "is_nonzero": lambda _: False,
    "equal": lambda _: False,
    "bincount": lambda labels: torch.empty(7, dtype=torch.int64, device=labels.device),
}
"""What only numbers could tell."""

# What stands in for private parts of torch fits newer ones; 2.10 asks for a driver here and there.
pytestmark = pytest.mark.skipif(torch.__version__ < "2.14", reason="for torch 2.14 and newer")

INDEXING = {"index", "index_put_", "_index_put_impl_"}


class GpuGenerator(torch.Generator):
    """Says where it was asked for; fake kernels draw nothing from it.

    torch hands on what is inside it, so a GPU's is recognized by a seed that it keeps.
    """

    device: torch.device = torch.device("cpu")

    def __new__(cls, device: str | torch.device = "cpu") -> Self:
        made = super().__new__(cls)
        made.device = torch.device(device)
        if made.device == CUDA:
            super(GpuGenerator, made).manual_seed(GPU_SEED)
        return made

    def manual_seed(self, seed: int) -> Self:
        if self.device != CUDA:
            super().manual_seed(seed)
        return self


@dataclass(frozen=True)
class Watched:
    """What was seen of a training."""

    waits: list[list[str]]
    """What the host waited for, in every step but the first of an epoch."""
    dtypes: set[torch.dtype]
    """Of the tensors on the GPU."""


class Watch(TorchDispatchMode):  # type: ignore[no-untyped-call]  # torch's has no annotations
    """Notes what makes the host wait for the GPU; refuses what only a real GPU would refuse."""

    def __init__(self) -> None:
        super().__init__()  # type: ignore[no-untyped-call]  # likewise
        self.waits: list[str] = []
        self.dtypes: set[torch.dtype] = set()

    def __torch_dispatch__(
        self, function: Any, _types: Any, args: Any = (), kwargs: Any = None
    ) -> Any:
        kwargs = kwargs or {}
        name = function._schema.name.removeprefix("aten::")
        leaves = tree_leaves((args, kwargs))
        tensors = [leaf for leaf in leaves if isinstance(leaf, Tensor)]
        if any(tensor.device == CUDA for tensor in tensors):
            self.look_for_waits(name, args)
        if name in ANSWERS:
            return ANSWERS[name](tensors[0])
        result = function(*args, **kwargs)
        results = [leaf for leaf in tree_leaves(result) if isinstance(leaf, Tensor)]
        self.dtypes |= {tensor.dtype for tensor in results if tensor.device == CUDA}
        places = {tensor.device.type for tensor in (*tensors, *results)}
        if name in {"_to_copy", "copy_"} and len(places) > 1 and not kwargs.get("non_blocking"):
            self.note("a copy from device to device")
        drawn = [leaf for leaf in leaves if isinstance(leaf, torch._C.Generator)]
        if any((one.initial_seed() == GPU_SEED) != ("cuda" in places) for one in drawn):
            message = f"a generator of the CPU for a GPU, or the reverse: {places}"
            raise RuntimeError(message)
        return result

    def look_for_waits(self, name: str, args: Any) -> None:
        if name in WAITS:
            self.note(name)
        indices = [one for one in args[1] if one is not None] if name in INDEXING else []
        if any(one.dtype == torch.bool or one.device != CUDA for one in indices):
            self.note("an index that is a mask, or on the CPU")

    def note(self, what: str) -> None:
        frames = [frame for frame in traceback.extract_stack() if "/fercli/" in frame.filename]
        where = f"{frames[-1].name}, line {frames[-1].lineno}" if frames else "a test"
        self.waits.append(f"{what}: {where}")


def walk_backward(root: Tensor, **_: Any) -> None:
    """Run the backward pass node by node, each after all that give to it."""
    start_node: Any = root.grad_fn
    waiting: Counter[Any] = Counter()
    stack, seen = [start_node], {start_node}
    while stack:
        children = {child for child, _ in stack[-1].next_functions if child is not None}
        waiting.update(child for child, _ in stack.pop().next_functions if child is not None)
        stack += children - seen
        seen |= children
    given: dict[Any, dict[int, Tensor]] = {start_node: {0: torch.ones_like(root)}}
    ready = [start_node]
    while ready:
        node = ready.pop()
        inputs = given.pop(node, {})
        outputs: Any = (None,) * len(node.next_functions)
        if inputs:
            outputs = node(*(inputs.get(place) for place in range(len(node._input_metadata))))
            outputs = outputs if isinstance(outputs, tuple) else (outputs,)
        for (child, place), gradient in zip(node.next_functions, outputs, strict=True):
            if child is None:
                continue
            if gradient is not None:
                add_gradient(given.setdefault(child, {}), child, place, gradient)
            waiting[child] -= 1
            ready += [child] if not waiting[child] else []


def add_gradient(slot: dict[int, Tensor], node: Any, place: int, gradient: Tensor) -> None:
    wanted = node._input_metadata[place]
    if gradient.device != wanted.device and gradient.ndim:
        message = f"{node.name()} is given a gradient on {gradient.device}"
        raise RuntimeError(message)
    gradient = gradient.sum_to_size(wanted.shape).to(wanted.dtype)
    slot[place] = slot[place] + gradient if place in slot else gradient


def copy_alone(tensor: Any, _memo: Any) -> Tensor:
    """Copy a fake tensor; torch's own way copies the mode with it."""
    copied = tensor.detach().clone()
    return (
        nn.Parameter(copied, tensor.requires_grad) if isinstance(tensor, nn.Parameter) else copied
    )


def apply_anew(module: nn.Module, function: Callable[[Tensor], Tensor], **_: Any) -> nn.Module:
    """Move a module by new parameters; torch's own way swaps them, which fakes refuse."""
    for child in module.children():
        child._apply(function)  # type: ignore[no-untyped-call]  # likewise
    for name, value in module._parameters.items():
        if value is not None:
            moved = function(value.detach())
            module._parameters[name] = nn.Parameter(moved, value.requires_grad)
    for name, buffer in module._buffers.items():
        module._buffers[name] = None if buffer is None else function(buffer)
    return module


def choose_memory_order(maps: Tensor, weight: Tensor, _backend: Any) -> torch.memory_format:
    """Answer as with cuDNN, which torch believes to be missing: channels last if either side is."""
    orders = {prims.suggest_memory_format(tensor) for tensor in (maps, weight)}
    return torch.channels_last if torch.channels_last in orders else torch.contiguous_format


PATCHES: dict[str, Any] = {
    "torch.cuda.init": lambda: None,
    "torch.cuda.is_available": lambda: True,
    "torch.cuda.is_bf16_supported": lambda *_, **__: True,
    "torch.cuda.default_generators": [GpuGenerator("cuda:0")],
    "torch.Generator": GpuGenerator,
    "torch.Tensor.backward": walk_backward,
    "torch.nn.Module._apply": apply_anew,
    "torch._subclasses.fake_tensor.FakeTensor.__deepcopy__": copy_alone,
    "torch._subclasses.fake_tensor.FakeTensorMode.avoid_device_init": True,
    "torch.cuda.amp.common.amp_definitely_not_available": lambda: False,
    "torch._C._conv_determine_backend_memory_format": choose_memory_order,
    "torch.optim.optimizer._foreach_supported_types": [
        Tensor, nn.Parameter, fake_tensor.FakeTensor,
    ],
}  # fmt: skip
"""Names of torch's own that a newer torch may not have; then there is nothing to test here."""


@contextlib.contextmanager
def imagine_gpu() -> Iterator[Watch]:
    # Made before the patches: it must see that there is no driver.
    mode = fake_tensor.FakeTensorMode(allow_non_fake_inputs=True)
    with contextlib.ExitStack() as stack:
        for name, value in PATCHES.items():
            try:
                stack.enter_context(mock.patch(name, value))
            except (AttributeError, ModuleNotFoundError) as reason:
                pytest.skip(f"this torch has no {name} ({reason})")
        stack.enter_context(mode)
        yield stack.enter_context(Watch())


def drive(recipe: str, *, consistent: bool = False, **changes: Any) -> Watched:
    """Run the epochs of a recipe, two steps each, as a training does; a network teaches itself."""
    settings = {"device": "cuda", "precision": "bf16", "epochs": 1, "batch_size": 32, **changes}
    config = build_config(settings, base=RECIPES[recipe])
    dataset = build_synthetic(80)
    splits, run = choose_splits(dataset, config), RunFolder(Path("run"))
    context = TrainingContext(
        dataset=dataset, config=config, splits=splits, run=run, run_log=RunLog(run, Callbacks()),
        data=None, group=ALONE,
    )  # fmt: skip
    even = np.full((len(splits.train.labels), 7), 1 / 7, np.float32)
    taught = even if recipe == "tiny" else None
    voted = dataclasses.replace(splits.train, targets=even if recipe == "best" else None)
    waits: list[list[str]] = []
    with imagine_gpu() as watch, keep_generators(torch.device("cpu")):
        state = start(context, CUDA, transfer=False)
        train = put_on_device(voted, 7, CUDA, taught, 2.0)
        if consistent:
            runtime = TorchRuntime(state.network, ModelMetadata(labels=LABELS), CUDA)
            named = Teacher(runtime, list(range(7)), TeacherRecord(model="itself", sha256="0"))
            teacher = ConsistentTeacher([named, named], config, CUDA)
            train = dataclasses.replace(train, teach=teacher.predict)
        validation = put_on_device(splits.validation, 7, CUDA)

        def end_step() -> int:
            # Of the first step are what an epoch begins with and the validation before; the loss
            # is read after this, at the end of an epoch and now and then.
            if state.progress.step > 1:
                waits.append(watch.waits.copy())
            watch.waits.clear()
            return 0

        callbacks = Callbacks(should_stop=end_step)
        run_epochs(state, train, validation, config, callbacks, lambda *_: None)
        weights = {**state.network.state_dict(), **state.eval_network.state_dict()}
        assert {tensor.device for tensor in weights.values()} == {CUDA}
        assert {tensor.device.type for tensor in state.best.values()} == {"cpu"}
    assert len(waits) == config.epochs
    return Watched(waits, watch.dtypes)


NARROW: dict[str, Any] = {"widths": (8, 8), "stem_width": 8}
CASES: dict[str, tuple[str, dict[str, Any]]] = {
    "notebook": ("notebook", {"precision": "fp32"}),
    "fast": ("fast", {}),
    "standard, growing images": ("standard", {"epochs": 2, "widths": (8, 8)}),
    "best, votes": ("best", {"widths": (8, 8)}),
    "tiny, a teacher": ("tiny", {}),
    "teachers that look on": ("standard", {**NARROW, "consistent": True, "mixup": 0.2}),
    "memory": (
        "standard", {**NARROW, "self_weight": 0.8, "optimizer": "muon", "accumulate": 3}
    ),
    "weights": (
        "fast",
        {**NARROW, "balance": "weights", "focal_gamma": 2.0, "logit_adjustment": 1.0,
         "mixup": 0.2, "optimizer": "adam", "flip": "random", "accumulate": 2},
    ),
    "oversample": (
        "fast",
        {**NARROW, "balance": "oversample", "optimizer": "adamw", "flip": "alternating",
         "stem": "learned", "average": "ema", "schedule": "plateau", "channels_last": False},
    ),
    "separable": ("tiny", {**NARROW, "network": "separable", "optimizer": "sgd"}),
    "backbone": (
        "standard",
        {"network": "resnet18", "input_px": 64, "flip_equivariant": False, "stem": "learned"},
    ),
}  # fmt: skip


@pytest.mark.parametrize("case", CASES)
def test_no_devices_are_mixed_and_no_step_waits(case: str) -> None:
    recipe, changes = CASES[case]

    waits = drive(recipe, **changes).waits

    assert waits == [[]] * len(waits)


def test_only_the_scaler_of_fp16_waits() -> None:
    ((wait,),) = drive("fast", precision="fp16", **NARROW).waits

    assert wait.startswith("_local_scalar_dense: take_step")


def test_mps_is_given_no_float64(monkeypatch: pytest.MonkeyPatch) -> None:
    # Fakes of MPS need a torch that was built for it; of the rest, CUDA makes the same tensors.
    for module in (loop, step):
        monkeypatch.setattr(module, "build_sums", lambda *_: torch.zeros(2, device=CUDA))
    with fake_tensor.FakeTensorMode():
        sums = build_sums(0.5, 1, torch.device("mps", 0))

    watched = drive("standard", precision="fp32", **NARROW)

    assert sums.dtype == torch.float32
    assert torch.float64 not in watched.dtypes


BUGS: dict[str, Callable[[Tensor], object]] = {
    "a number is read": lambda values: values.sum().item(),
    "a condition": lambda values: bool((values > 0).any()),
    "counting": torch.bincount,
    "a mask as index": lambda values: values.index_put_((values > 0,), torch.zeros_like(values[0])),
    "an index on the CPU": lambda values: values[torch.arange(2)],
    "a constant is copied": lambda values: torch.ones(4).to(values.device),
    "a result is copied": lambda values: values.cpu(),
}
REFUSED: dict[str, Callable[[Tensor], object]] = {
    "devices are mixed": lambda values: values + torch.ones(4),
    "a generator on the CPU": lambda values: torch.rand(
        4, device=values.device, generator=torch.Generator()
    ),
}


@pytest.mark.parametrize("bug", BUGS)
def test_what_waits_is_noticed(bug: str) -> None:
    with imagine_gpu() as watch:
        values = torch.zeros(4, dtype=torch.int64, device=CUDA)
        before = watch.waits.copy()
        BUGS[bug](values)

    assert not before
    assert len(watch.waits) == 1


@pytest.mark.parametrize("bug", REFUSED)
def test_what_a_gpu_refuses_is_refused(bug: str) -> None:
    with imagine_gpu(), pytest.raises(RuntimeError, match=r"cpu|CPU"):
        REFUSED[bug](torch.zeros(4, device=CUDA))
