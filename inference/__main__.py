"""``python -m vae4counts.inference``: the command line."""

from vae4counts.inference.cli import main

main()
