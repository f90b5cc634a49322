"""`python -m tidewire.cli`, for where the script is not on the path."""

from tidewire.cli.main import main

main()
