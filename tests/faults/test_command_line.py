"""What a person sees when something is wrong: one line of ours, an exit code, and finished stages that stay valid."""

import pytest


@pytest.fixture(scope="module")
def repository(copy_repository, tmp_path_factory):
    return copy_repository(tmp_path_factory.mktemp("faults"), SIZEWISE_TRACK="0")


@pytest.fixture
def params(repository):
    """params.yaml may be changed; it is restored afterwards."""
    yield repository
    repository.run("git", "checkout", "-q", "params.yaml")


def ours(output):
    """The lines that the pipeline itself printed about a fault."""
    return [line for line in output.splitlines() if line.startswith("sizewise ")]
