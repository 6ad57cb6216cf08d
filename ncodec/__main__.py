"""`python -m ncodec` is the command `ncodec`."""

from ncodec.cli.main import main

main()
