"""pytester drives pytest on small projects; a plugin can only be named in the root conftest."""

pytest_plugins = ["pytester"]
