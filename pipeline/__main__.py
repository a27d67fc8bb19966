"""`python -m pipeline` is `vocstream`."""

from pipeline.cli import main

main()
