"""`python -m autointerp` is `autointerp`."""

from autointerp.cli.main import main

main()
