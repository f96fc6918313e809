"""`python -m interop`: the command line."""

from interop.cli import main

if __name__ == "__main__":
    main()
