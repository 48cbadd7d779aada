"""Get a copy of FER2013 from where others keep it; nothing of it is ours to give."""

from __future__ import annotations

from fercli.download.fetch import Downloaded, invalidate
from fercli.download.sources import SOURCES, check_source_name, download

__all__ = ["SOURCES", "Downloaded", "check_source_name", "download", "invalidate"]
