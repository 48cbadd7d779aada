"""Learning from other models' answers: teachers, ensemble members, and a network's own."""

from __future__ import annotations
