"""`python -m worker.cli`, where the script is not on the PATH."""

from worker.cli import main

main()
