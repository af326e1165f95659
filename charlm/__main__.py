"""`charlm`, and `python -m charlm`."""

from charlm.cli.signals import Signals


def main() -> None:
    """Run the command line; signals are listened to before anything slow is imported."""
    signals = Signals()
    signals.listen()
    try:
        from charlm.cli.main import run

        run(signals)
    finally:
        signals.ignore()


if __name__ == "__main__":
    main()
