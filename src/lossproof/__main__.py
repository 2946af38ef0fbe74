"""``python -m lossproof``."""

from lossproof.cli.main import command

if __name__ == "__main__":
    command()
