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

from fercli.ray_engine.actor import Actor, Tries, strip_pixels
from fercli.ray_engine.blocks import Answer, Block, cut_blocks
from fercli.ray_engine.cluster import Cluster, open_cluster, plan_actors, predict_on_ray
from fercli.ray_engine.connection import check_answers
from fercli.ray_engine.job import RayJob

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
