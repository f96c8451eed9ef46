"""All benchmarks, a table each. Figures are ratios measured in one run, so that the machine matters little.

`make bench ROWS="wire gateway" RATES=115200` prints those tables alone, at those baud rates.
"""

import sys

from benchmarks import beside, events, files, gateway, http_peers, metrics, wire
from hal.runtime import run

TABLES = {
    "http": http_peers.main,
    "wire": lambda: run(wire.main()),
    "files": files.main,
    "gateway": lambda: run(gateway.gateway_table()),
    "beside": lambda: run(beside.main()),
    "shared": lambda: run(gateway.shared_reads()),
    "events": lambda: run(events.main()),
    "metrics": metrics.main,
    "search": lambda: run(gateway.search_tables()),
}


def main() -> None:
    """Print the tables that are named, or every one, which takes about eight minutes."""
    for name in sys.argv[1:] or TABLES:
        TABLES[name]()


if __name__ == "__main__":
    main()
