"""Entry point of `charlm` and `python -m charlm`."""

from charlm.cli.signals import Signals
from charlm.cli.streams import hold_descriptors


def main() -> None:
    """Run the command line; listen to signals before anything slow is imported."""
    hold_descriptors()
    signals = Signals()
    signals.listen()
    try:
        from charlm.cli.main import run

        run(signals)
    finally:
        signals.ignore()


if __name__ == "__main__":
    main()
