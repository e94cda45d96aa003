"""What the tests of faults share: how much is tried, and the count."""

from __future__ import annotations

from collections.abc import Callable, Iterator

import pytest

from tests.faults.campaign import Tally, save
from tests.faults.interrupted import SAMPLE, STAGES, Undisturbed, run_undisturbed
from tests.faults.rooms import Project, finish


@pytest.fixture(scope="session")
def whole(request) -> bool:
    """Whether the whole campaign is wanted (`--whole`), or a sample of it."""
    return request.config.getoption("--whole")


@pytest.fixture
def count(whole) -> Iterator[Callable[[str], Tally]]:
    """Makes the tally of a kind of fault; when the test ends, the whole campaign's is saved and every loss reported."""
    tallies: list[Tally] = []

    def make(fault: str) -> Tally:
        tallies.append(Tally(fault))
        return tallies[-1]

    yield make
    for tally in tallies:
        assert tally.tried, f"nothing was tried: {tally.fault}"
        if whole:
            save(tally)
    losses = [f"{tally.fault}: {loss}" for tally in tallies for loss in tally.losses]
    assert not losses, "\n".join(losses)


@pytest.fixture(scope="session")
def finished(tmp_path_factory) -> Project:
    """A small project in which every room has run; a test copies it before it breaks something."""
    return finish(tmp_path_factory.mktemp("finished"))


@pytest.fixture(scope="session")
def undisturbed(tmp_path_factory, whole) -> Undisturbed:
    """The run that disturbed ones are compared with."""
    return run_undisturbed(tmp_path_factory.mktemp("runs") / "undisturbed", STAGES if whole else SAMPLE)
