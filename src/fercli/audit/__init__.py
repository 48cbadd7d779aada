"""What is in a dataset, and what is wrong with it."""

from __future__ import annotations

from fercli.audit.check import Audit, check_dataset, summarize
from fercli.audit.write import write_findings

__all__ = ["Audit", "check_dataset", "summarize", "write_findings"]
