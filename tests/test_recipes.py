"""Each recipe of docs/continuous-integration.md is parsed from the page and run, in a project made for it.

pip is a stand-in that checks what it is asked for: a folder that can be installed, or a repository. All else
is the program itself, as this environment has it.
"""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
import tomllib
from configparser import ConfigParser
from pathlib import Path
from typing import Any

import pytest
import yaml
from packaging.requirements import Requirement

CHECKOUT = Path(__file__).parent.parent
PAGE = (CHECKOUT / "docs" / "continuous-integration.md").read_text(encoding="utf-8")
_BLOCK = re.compile(r"^```(?:yaml|ini|sh)\n(.*?)^```", re.M | re.S)
RECIPES = {
    section.partition("\n")[0]: block[1]
    for section in PAGE.split("\n## ")
    for block in _BLOCK.finditer(section)
}

PIP = f"""#!{sys.executable}
import pathlib, sys
from packaging.requirements import Requirement
assert sys.argv[1] == "install", sys.argv
for asked in sys.argv[2:]:
    if (pathlib.Path(asked.partition("[")[0]) / "pyproject.toml").is_file():
        continue
    url = asked if asked.startswith("git+") else Requirement(asked).url or ""
    assert url.startswith("git+https://") and url.endswith("/lossproof"), f"{{asked}} is on no index"
"""


@pytest.fixture
def project(tmp_path: Path) -> Path:
    """Somebody's project: an adapter by an entry point, a baseline and a case file of its own."""
    (tmp_path / "pyproject.toml").write_text("[project]\nname = 'mine'\nversion = '1'\n")
    (tmp_path / "mybackend.py").write_text(
        "from lossproof.adapters.numpy import NumpyAdapter\nfrom lossproof import Adapter\n\n"
        "class MyBackend(Adapter):\n    name = 'mybackend'\n    dtypes = ('float32',)\n"
        "    pspnet_predict = NumpyAdapter.pspnet_predict\n"
    )
    info = tmp_path / "mine-1.dist-info"
    info.mkdir()
    (info / "METADATA").write_text("Metadata-Version: 2.1\nName: mine\nVersion: 1\n")
    (info / "entry_points.txt").write_text("[lossproof.adapters]\nmybackend = mybackend:MyBackend\n")
    (tmp_path / "conformance").mkdir()
    shutil.copy(CHECKOUT / "cases/pspnet_predict/argmax.yaml", tmp_path / "conformance/my-cases.yaml")
    (tmp_path / "stand-in").mkdir()
    (tmp_path / "stand-in" / "pip").write_text(PIP)
    (tmp_path / "stand-in" / "pip").chmod(0o755)
    # `python -m pip` is the same program.
    (tmp_path / "stand-in" / "python").write_text(
        f'#!/bin/sh\n[ "$1 $2" = "-m pip" ] && shift 2 && exec pip "$@"\nexec {sys.executable} "$@"\n'
    )
    (tmp_path / "stand-in" / "python").chmod(0o755)
    return tmp_path


def run(project: Path, command: str, **variables: str) -> None:
    bin = Path(sys.executable).parent
    done = subprocess.run(
        ["bash", "-ec", command], cwd=project, capture_output=True, text=True, timeout=300,
        env={
            **os.environ, "PATH": f"{project / 'stand-in'}:{bin}:/usr/bin:/bin", "PYTHONPATH": str(project),
            "PYTEST_ADDOPTS": "-q -p no:cacheprovider", **variables,
        },
    )  # fmt: skip
    assert done.returncode == 0, f"{command}\n{done.stdout}\n{done.stderr}"


def test_the_page_has_these_recipes() -> None:
    assert set(RECIPES) == {"GitHub Actions", "GitLab", "tox", "pytest"}


def test_github(project: Path) -> None:
    run(project, "lossproof run -a mybackend --json conformance/baseline.json pspnet_predict")
    action = yaml.safe_load((CHECKOUT / "action.yml").read_text(encoding="utf-8"))
    (job,) = yaml.safe_load(RECIPES["GitHub Actions"])["jobs"].values()
    used = 0
    for step in job["steps"]:
        if "run" in step:
            run(project, step["run"])
        elif "/lossproof@" in step["uses"]:
            used += 1
            _use(project, action, step["with"])
    assert used == 1 and (project / "lossproof.xml").is_file() and (project / "summary.md").is_file()


def _use(project: Path, action: Any, given: dict[str, str]) -> None:
    """The steps of the action, with GitHub's own variables."""
    assert given.keys() <= action["inputs"].keys()
    inputs = {name: given.get(name, row.get("default", "")) for name, row in action["inputs"].items()}
    own = {"GITHUB_ACTION_PATH": str(CHECKOUT), "GITHUB_STEP_SUMMARY": str(project / "summary.md")}
    for step in action["runs"]["steps"]:
        given_to = {
            name: re.sub(r"\$\{\{ inputs\.([a-z-]+) \}\}", lambda match: inputs[match[1]], text)
            for name, text in step["env"].items()
        }
        run(project, step["run"], **own, **given_to)


def test_the_action_installs_its_own_checkout_and_frameworks_with_it(project: Path) -> None:
    (install, _) = yaml.safe_load((CHECKOUT / "action.yml").read_text(encoding="utf-8"))["runs"]["steps"]
    for asked in ("$GITHUB_ACTION_PATH", "$GITHUB_ACTION_PATH[torch]\n.\n", ""):
        run(project, install["run"], GITHUB_ACTION_PATH=str(CHECKOUT), INSTALL=asked)
    with pytest.raises(AssertionError, match="is on no index"):
        run(project, install["run"], GITHUB_ACTION_PATH=str(CHECKOUT), INSTALL="lossproof")


def test_gitlab(project: Path) -> None:
    job = yaml.safe_load(RECIPES["GitLab"])["conformance"]
    for line in job["script"]:
        run(project, line)
    for file in (job["artifacts"]["reports"]["junit"], *job["artifacts"]["paths"]):
        assert (project / file).stat().st_size


def test_tox(project: Path) -> None:
    (project / "tox.ini").write_text(f"[tox]\nskipsdist = true\n\n{RECIPES['tox']}")
    recipe = ConfigParser(interpolation=None)
    recipe.read_string(RECIPES["tox"])
    assert str(Requirement(recipe["testenv:conformance"]["deps"]).url).startswith("git+https://")
    # The checkout instead of the repository, which cannot be had here.
    overridden = " ".join(
        f"-x testenv:conformance.{setting}"
        for setting in ("deps=", "allowlist_externals=lossproof", "pass_env=PYTHONPATH")
    )
    run(project, f"tox -q -e conformance {overridden} -- pspnet_predict")
    assert list(project.glob(".tox/conformance/tmp/results.json"))


def test_pytest(project: Path) -> None:
    carried, own = RECIPES["pytest"].splitlines()
    run(project, f"{carried} -k pspnet_predict")
    run(project, own)


# -- what is released ---------------------------------------------------------------------------------


def test_the_release_says_whose_the_package_is(tmp_path: Path) -> None:
    workflow = yaml.safe_load((CHECKOUT / ".github/workflows/release.yml").read_text(encoding="utf-8"))
    (step,) = [s for s in workflow["jobs"]["package"]["steps"] if "whose" in s.get("name", "")]
    shutil.copy(CHECKOUT / "pyproject.toml", tmp_path)
    variables = {"GITHUB_SERVER_URL": "https://github.com", "GITHUB_REPOSITORY": "some/where"}
    subprocess.run(["bash", "-ec", step["run"]], cwd=tmp_path, check=True, env={**os.environ, **variables})
    urls = tomllib.loads((tmp_path / "pyproject.toml").read_text(encoding="utf-8"))["project"]["urls"]
    assert len(urls) >= 4 and all(url.startswith("https://github.com/some/where") for url in urls.values())


def test_the_release_is_of_the_version_of_its_tag() -> None:
    import lossproof

    workflow = yaml.safe_load((CHECKOUT / ".github/workflows/release.yml").read_text(encoding="utf-8"))
    (step,) = [s for s in workflow["jobs"]["package"]["steps"] if "version" in s.get("name", "")]
    for tag, status in ((f"v{lossproof.__version__}", 0), ("v9.9.9", 1)):
        environment = {**os.environ, "TAG": tag}
        assert (
            subprocess.run(["bash", "-ec", step["run"]], cwd=CHECKOUT, env=environment).returncode == status
        )


def test_the_oldest_versions_are_those_that_are_permitted() -> None:
    project = tomllib.loads((CHECKOUT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    extras = project["optional-dependencies"]
    asked = [*project["dependencies"], *(r for name, rows in extras.items() if name != "dev" for r in rows)]
    oldest = set()
    for requirement in map(Requirement, asked):
        if requirement.name != "lossproof":
            (bound,) = requirement.specifier
            assert bound.operator == ">="
            oldest.add(f"{requirement.name}=={bound.version}")
    lines = (CHECKOUT / "constraints-minimum.txt").read_text(encoding="utf-8").splitlines()
    assert {line for line in lines if not line.startswith("#")} == oldest


def test_environments_that_workflows_name_are_in_tox() -> None:
    weekly = yaml.safe_load((CHECKOUT / ".github/workflows/latest.yml").read_text(encoding="utf-8"))
    named = weekly["jobs"]["versions"]["strategy"]["matrix"]["environment"]
    named += [f"torch-py3{minor}" for minor in (11, 12, 13)] + ["dist"]
    tox = ConfigParser(interpolation=None)
    tox.read(CHECKOUT / "tox.ini", encoding="utf-8")
    own = {
        before + middle
        for section in tox.sections()
        for before, _, braces in [section.removeprefix("testenv:").rstrip("}").partition("{")]
        for middle in braces.split(",")
    }
    listed = tox["tox"]["env_list"].replace("\n", " ")
    for name in named:
        framework, _, python = name.partition("-py")
        assert name in own or (f"{framework}-py{{311,312,313}}" in listed and python[-2:] in "111213"), name
