"""``python -m tailbound`` is the command ``tailbound``."""

from .cli import main

main()
