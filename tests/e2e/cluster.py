"""A Ray cluster of two machines, as far as one has room for two: `python cluster.py`.

Writes a line of JSON with its address and the processes that stand for machines, and ends with its
stdin. Each machine has one processor.
"""

from __future__ import annotations

import json
import os
import sys

os.environ["RAY_USAGE_STATS_ENABLED"] = "0"


def main() -> None:
    """Start, say where, wait, stop."""
    from ray.cluster_utils import Cluster

    options = {"num_cpus": 1, "object_store_memory": 100 << 20, "include_dashboard": False}
    cluster = Cluster(initialize_head=True, head_node_args=options)
    other = cluster.add_node(**options)
    cluster.wait_for_nodes(timeout=120)
    [raylet] = other.all_processes["raylet"]
    sys.stdout.write(json.dumps({"address": cluster.address, "machine": raylet.process.pid}) + "\n")
    sys.stdout.flush()
    sys.stdin.read()
    cluster.shutdown()


if __name__ == "__main__":
    main()
