"""What is in a dataset, and what is wrong with it."""

from __future__ import annotations

from fercli.audit.check import Audit, check_dataset, summarize
from fercli.audit.write import find_findings, write_findings

__all__ = ["Audit", "check_dataset", "find_findings", "summarize", "write_findings"]
