"""`python -m truing` is the command `truing`."""

from truing.cli.app import main

if __name__ == "__main__":
    main()
