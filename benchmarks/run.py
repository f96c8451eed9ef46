"""All benchmarks, a table each. Figures are ratios measured in one run, so that the machine matters little."""

from benchmarks import files, gateway, http_peers, wire
from hal.runtime import run


def main() -> None:
    """Print every table; takes about four minutes."""
    http_peers.main()
    run(wire.main())
    files.main()
    run(gateway.main())


if __name__ == "__main__":
    main()
