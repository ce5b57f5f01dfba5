"""``python -m vae4counts``: the command line."""

from vae4counts.inference.cli import main

if __name__ == "__main__":
    main()
