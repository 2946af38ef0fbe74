"""Settings that only the root's conftest can make."""

import pytest

# pytester drives pytest on small projects.
pytest_plugins = ["pytester"]


@pytest.hookimpl(tryfirst=True)
def pytest_cmdline_main(config: pytest.Config) -> None:
    """Over several processes (``-n``), keep the tests of a group together.

    They share what takes minutes to work out, which would else be worked out in each process.
    """
    if getattr(config.option, "numprocesses", None) and config.option.dist == "no":
        config.option.dist = "loadgroup"
