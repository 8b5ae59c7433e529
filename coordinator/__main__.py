"""`python -m coordinator` is `peer-consensus`."""

from coordinator.cli import main

main()
