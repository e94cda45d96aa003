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


ENDED = pytest.StashKey[bool]()  # whether a test came to its end, whatever its trials lost


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport(item, call):
    """Notes it for `count`: a test that was stopped, skipped or wrong in itself has not tried all."""
    report = yield
    if call.when == "call":
        item.stash[ENDED] = report.passed
    return report


@pytest.fixture
def count(request, whole) -> Iterator[Callable[[str], Tally]]:
    """Makes the tally of a kind of fault; after a test's end every loss is reported, with --whole all are saved first.

    Where the test itself failed or was stopped, the rows of counts.csv stay as they were.
    """
    tallies: list[Tally] = []

    def make(fault: str) -> Tally:
        tallies.append(Tally(fault))
        return tallies[-1]

    yield make
    ended = request.node.stash.get(ENDED, False)
    if whole and ended:
        for tally in filter(lambda tally: tally.tried, tallies):
            save(tally)
    faults = [f"nothing was tried: {tally.fault}" for tally in tallies if ended and not tally.tried]
    faults += [f"{tally.fault}: {loss}" for tally in tallies for loss in tally.losses]
    assert not faults, "\n".join(faults)


@pytest.fixture(scope="session")
def finished(tmp_path_factory) -> Project:
    """A small project in which every room has run; a test copies it before it breaks something."""
    return finish(tmp_path_factory.mktemp("finished"))


@pytest.fixture(scope="session")
def undisturbed(tmp_path_factory, whole) -> Undisturbed:
    """The run that disturbed ones are compared with."""
    return run_undisturbed(tmp_path_factory.mktemp("runs") / "undisturbed", STAGES if whole else SAMPLE)
