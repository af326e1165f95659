"""`python -m charlm`."""

from charlm.cli.main import main

main()
