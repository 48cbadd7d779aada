"""Get FER2013, and weights of detectors, from where others keep them."""

from __future__ import annotations

from fercli.download.detectors import fetch_detector
from fercli.download.fetch import Downloaded, invalidate
from fercli.download.hub import fetch_model
from fercli.download.sources import SOURCES, check_source_name, download

__all__ = [
    "SOURCES",
    "Downloaded",
    "check_source_name",
    "download",
    "fetch_detector",
    "fetch_model",
    "invalidate",
]
