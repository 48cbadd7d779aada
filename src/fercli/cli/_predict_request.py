"""What `fer predict` was asked for, and the model that was asked for, ready to run."""

from __future__ import annotations

import sys
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from fercli.cli._options import choose_device_name
from fercli.cli._output import Output, warn_if_synthetic
from fercli.cli._predict_outputs import split_endings
from fercli.config import PredictConfig
from fercli.errors import ConfigError
from fercli.ranges import find_unknown_choice
from fercli.storage import check_apart

if TYPE_CHECKING:
    from fercli.cli._predict_engine import Engine
    from fercli.cli._predict_pictures import WantedPictures
    from fercli.inference import Runtime
    from fercli.model_files import ModelFile
    from fercli.prediction.writers import RowLayout

__all__ = ["OpenModel", "PredictRequest", "open_model"]


@dataclass(frozen=True, kw_only=True)
class PredictRequest:
    """What was typed."""

    paths: list[str]
    model: str | None
    labels_of: str | None
    device: str | None
    target: Path | None
    """The file of rows; with a shard the folder of the parts."""
    row_format: str | None
    ext: list[str]
    pictures: WantedPictures
    for_excel: bool
    resume: bool
    force: bool
    fields: Mapping[str, Any]
    """The options that fields of `PredictConfig` declare, those that were typed."""

    @property
    def endings(self) -> frozenset[str]:
        """The endings of the files to take; all images where there are none.

        Raises:
            ConfigError: One is none.
        """
        return split_endings(self.ext)

    def check_labels_of(self) -> None:
        """Refuse labels that no model can be mapped to.

        Raises:
            ConfigError: They are not FER2013's.
        """
        if self.labels_of is not None and (
            problems := find_unknown_choice("--labels-of", self.labels_of, ("fer2013",))
        ):
            raise ConfigError(*problems)

    def check_apart(self, written: list[Path]) -> None:
        """Refuse to write over an input.

        Args:
            written: The files that rows and pictures go to.

        Raises:
            ConfigError: One of them is read, too.
        """
        weights = self.fields.get("detector_weights")
        check_apart(written, [*map(Path, self.paths), *([weights] if weights else [])])

    def read_paths(self) -> Iterator[str]:
        """Yield the paths on stdin, if they were asked for."""
        if "-" not in self.paths:
            return
        # Bytes that are not UTF-8 come through as they are in file names.
        for line in sys.stdin.buffer if sys.stdin else ():
            yield line.decode("utf-8", "surrogateescape")

    def build_config(self, output: Output) -> PredictConfig:
        """Return what to look for, with the detector's weights, which may be fetched.

        Raises:
            FercliError: A value is out of range, or the weights cannot be had.
        """
        from fercli.prediction.weights import provide_weights

        config = PredictConfig(**self.fields)
        weights = provide_weights(config.faces, config.detector_weights, note=output.note)
        return replace(config, detector_weights=weights)


@dataclass(frozen=True)
class OpenModel:
    """A model ready to run, and what to look for with it."""

    file: ModelFile
    runtime: Runtime
    config: PredictConfig
    device: str
    """As it was chosen: `auto`, `cpu`, `cuda`."""

    @property
    def is_shared(self) -> bool:
        """Whether threads may share it."""
        return self.file.is_onnx and self.device in {"auto", "cpu"}

    def build_layout(self, *, for_excel: bool) -> RowLayout:
        """Return the columns of its rows."""
        from fercli.prediction.writers import RowLayout

        return RowLayout(
            self.runtime.labels,
            smooth=bool(self.config.smooth_s),
            model=self.file.title,
            for_excel=for_excel,
        )


def open_model(
    output: Output,
    request: PredictRequest,
    config: PredictConfig,
    engine: Engine,
    written: list[Path],
) -> OpenModel:
    """Return the model that was asked for, ready to run.

    Args:
        output: Speaks.
        request: What was typed.
        config: What to look for.
        engine: What predicts.
        written: The files that rows and pictures go to.

    Raises:
        FercliError: There is no such model or device, or the model is one of `written`.
    """
    from fercli.images.memory import return_large_blocks
    from fercli.inference import choose_labels
    from fercli.model_files import find_model, open_runtime

    return_large_blocks()
    device = choose_device_name(request.device)
    on_cpu = device in {"auto", "cpu"}
    found = find_model(request.model, prefer_onnx=on_cpu, for_photos=True)
    check_apart(written, found.files)
    if found.remark:
        output.note(found.remark)
    here = engine.name_own_device(device)
    runtime = choose_labels(open_runtime(found, device=here, n_threads=1), request.labels_of)
    warn_if_synthetic(output, runtime.metadata)
    return OpenModel(found, runtime, config, device)
