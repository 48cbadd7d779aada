"""Networks by name and settings, as models and runs hold them."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final, Self

from fercli.config import NetworkConfig
from fercli.errors import ConfigError, ModelFileError
from fercli.metadata.records import Record, read_parts, to_plain

if TYPE_CHECKING:
    from fercli.fields import JsonObject

__all__ = ["ENSEMBLE", "FORMER_NAMES", "NetworkRecord"]

ENSEMBLE: Final = "ensemble"
"""What stands for the network of models that were joined into one ONNX file."""
FORMER_NAMES: Final = {"seed": "notebook"}
"""What the network and the recipe of a name were called in files of 2026-11-23 and before."""


@dataclass(frozen=True, kw_only=True)
class NetworkRecord(Record):
    """A network by name and settings; of an ensemble, the networks of its members."""

    name: str = "unknown"
    """As `NetworkConfig.network`, or `ENSEMBLE`."""
    settings: Mapping[str, object] = field(default_factory=dict)
    """The other fields of `NetworkConfig`; a fercli that runs an ONNX need not know them all."""
    networks: tuple[NetworkRecord, ...] = ()
    """Of an ensemble's members."""

    @classmethod
    def from_config(cls, config: NetworkConfig) -> Self:
        """Return what is stored of a configuration."""
        settings = {item.name: getattr(config, item.name) for item in dataclasses.fields(config)}
        return cls(name=settings.pop("network"), settings=settings)

    @classmethod
    def read(cls, values: JsonObject) -> Self:
        """See `from_json`."""
        name = values.text("network")
        name = FORMER_NAMES.get(name, name)
        if name == ENSEMBLE:
            networks = read_parts(values, "networks", cls)
            return cls(name=name, networks=networks, _raw=values.raw)
        settings = {
            key: values.value_like(key, _SETTINGS[key]) if key in _SETTINGS else value
            for key, value in values.raw.items()
            if key != "network"
        }
        return cls(name=name, settings=settings, _raw=values.raw)

    @property
    def is_ensemble(self) -> bool:
        """Whether it stands for several networks."""
        return self.name == ENSEMBLE

    def build_config(self, path: Path) -> NetworkConfig:
        """Return its configuration; settings that it lacks came later, and default to what it did.

        Args:
            path: The file that it stands in, for errors.

        Raises:
            ModelFileError: It is several networks, or one that this fercli lacks.
        """
        if self.is_ensemble:
            message = f"{path} is an ensemble, which is several networks"
            raise ModelFileError(message, hint="name one of its members")
        unknown = sorted(ascii(key) for key in self.settings.keys() - _SETTINGS.keys())
        if unknown:
            message = f"{path}: this fercli does not know the network's {', '.join(unknown)[:200]}"
            raise ModelFileError(message, hint="use the fercli that wrote it")
        try:
            return NetworkConfig(network=self.name, **self.settings)  # type: ignore[arg-type]  # checked when read
        except ConfigError as reason:
            message = f"{path} holds a network that this fercli cannot build ({reason.message})"
            raise ModelFileError(message) from reason

    def to_json(self) -> dict[str, Any]:
        """Return it as plain JSON values; the settings stand beside the name."""
        if self._raw is not None:
            return super().to_json()
        more = {"networks": self.networks} if self.is_ensemble else self.settings
        return {"network": self.name, **{key: to_plain(value) for key, value in more.items()}}

    def replace(self, **changes: Any) -> Self:  # noqa: ANN401  # fields of the record
        """Return it with other fields, written anew: its fields are not the keys of the JSON."""
        return dataclasses.replace(self, **changes, _raw=None)


_SETTINGS: Final[Mapping[str, object]] = {
    item.name: item.default for item in dataclasses.fields(NetworkConfig) if item.name != "network"
}
"""Every setting of a network, and its default."""
