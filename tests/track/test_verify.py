"""`make verify` notices a changed byte wherever it is, and says what is not here without calling it wrong."""

import json
import os
import shutil
import subprocess
import sys
from hashlib import md5
from pathlib import Path

import pytest
from ruamel.yaml import YAML

from stages.core.faults import Fault
from stages.core.stage import load
from stages.track import hashes, ledger, table, verify

CACHE = Path(".dvc/cache")
SUMMARY = Path("metrics/summary.json")
MODEL, PICTURES = Path("models/tiny/model.pt"), Path("metrics/samples")
PARAMS = "dataset: tiny\nmethod: full\nseed: 0\n"
DVC_YAML = """\
stages:
  segment:
    cmd: mkdir -p models/tiny && printf weights > models/tiny/model.pt
    outs: ["models/${dataset}/model.pt"]
  evaluate:
    cmd: mkdir -p metrics/samples/more && printf '{"miou":0.25,"dice":null}' > metrics/summary.json
      && printf one > metrics/samples/a.png && printf two > metrics/samples/more/b.png
    deps: ["models/${dataset}/model.pt"]
    metrics: [{metrics/summary.json: {cache: false}}]
    plots: [metrics/samples]
  track:
    cmd: "true"
    deps: [metrics/summary.json]
    params: [params.yaml: []]
"""


def row(**cells):
    known = {"experiment": "a", "dataset": "tiny", "method": "full", "seed": "0", "miou": "0.25"}
    return dict.fromkeys(ledger.COLUMNS, "") | known | cells


def digest(content):
    return md5(content, usedforsecurity=False).hexdigest()


def object_of(path):
    """The cache object of a file, by its present content."""
    name = digest(path.read_bytes())
    return CACHE / "files/md5" / name[:2] / name[2:]


def store(content, name):
    path = CACHE / "files/md5" / name[:2] / name[2:]
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(content)


@pytest.fixture
def project(tmp_path, monkeypatch):
    """A small repository after `dvc repro`, made by hand."""
    monkeypatch.delenv("DVC_ROOT", raising=False)
    monkeypatch.chdir(tmp_path)
    Path("params.yaml").write_text(PARAMS)
    Path("dvc.yaml").write_text(DVC_YAML)
    files = {MODEL: b"weights", PICTURES / "a.png": b"one", PICTURES / "more/b.png": b"two"}
    for path, content in files.items():
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(content)
        store(content, digest(content))
    SUMMARY.write_text('{"miou":0.25,"dice":null}')
    listing = [{"md5": digest(b"one"), "relpath": "a.png"}, {"md5": digest(b"two"), "relpath": "more/b.png"}]
    content = json.dumps(listing).encode()
    store(content, digest(content) + ".dir")

    def entry(path, name):
        return {"path": str(path), "hash": "md5", "md5": name}

    model, summary = entry(MODEL, digest(b"weights")), entry(SUMMARY, digest(SUMMARY.read_bytes()))
    write_lock(
        {
            "segment": {"cmd": "x", "outs": [model]},
            "evaluate": {
                "cmd": "x",
                "deps": [model],
                "outs": [entry(PICTURES, digest(content) + ".dir"), summary],
            },
            "track": {
                "cmd": "x",
                "deps": [summary],
                "params": {"params.yaml": {"dataset": "tiny", "method": "full", "seed": 0}},
            },
        }
    )
    Path("README.md").write_text("# x\n<!-- table:tiny -->\n<!-- /table:tiny -->\n")
    ledger.gather(table.EXPERIMENTS, [row(), row(experiment="b", seed="1", miou="0.35")])
    table.main()
    return tmp_path


def write_lock(stages):
    YAML().dump({"schema": "2.0", "stages": json.loads(json.dumps(stages))}, Path("dvc.lock"))


def lock():
    return YAML(typ="safe").load(Path("dvc.lock"))["stages"]


def flip(path, position=0):
    content = bytearray(path.read_bytes())
    content[position] ^= 1
    path.write_bytes(content)


def wrong(every=False):
    return verify.verify(CACHE, every).wrong


def test_a_sound_project(project):
    report = verify.verify(CACHE, every=True)
    assert (report.wrong, report.unchecked, report.not_in_workspace, report.not_in_cache) == ([], [], [], [])
    assert report.files == 8  # model, two pictures and their list, all twice but the list, and the summary


def test_a_byte_of_the_cache_that_was_changed_in_place(project):
    path = object_of(MODEL)
    flip(path)
    (line,) = wrong()
    assert line.startswith(f"{path} has md5 {digest(path.read_bytes())}, not {digest(b'weights')}; ")
    assert "the cache object of models/tiny/model.pt: remove it, and" in line


def test_a_byte_of_an_out(project):
    flip(MODEL)
    (line,) = wrong()
    assert line.startswith("models/tiny/model.pt has md5 ")
    assert line.endswith("the out of stage segment: `dvc checkout` or `dvc repro` brings it back")


def test_a_hard_link_to_the_cache_is_wrong_in_both_places(project):
    path = object_of(MODEL)
    MODEL.unlink()
    os.link(path, MODEL)
    flip(MODEL)
    assert [line.split()[0] for line in wrong()] == [str(path), "models/tiny/model.pt"]


def test_a_number_of_the_metrics(project):
    SUMMARY.write_text(SUMMARY.read_text().replace("0.25", "0.26"))
    lines = wrong()
    assert lines[0].startswith("metrics/summary.json has md5 ")
    assert "`dvc repro` makes it again" in lines[0]  # the cache has no copy
    assert lines[1:] == [
        "metrics/experiments.csv has no row with the numbers of metrics/summary.json for tiny, full, 0 (the nearest "
        "differs in miou); `dvc repro` writes both"
    ]


def test_a_number_of_the_readme(project):
    readme = Path("README.md")
    text = readme.read_text()
    readme.write_text(text.replace("0.300", "0.310"))
    (line,) = wrong()
    assert line.startswith("README.md: table tiny is not that of metrics/experiments.csv; `make table` mends it: ")
    assert "0.310" in line
    readme.write_text(text.replace("0.300", "0.300 "))
    assert len(wrong()) == 1
    readme.write_text(text.replace("<!-- /table:tiny -->", ""))
    assert "without <!-- /table:tiny -->" in wrong()[0]


def test_a_number_of_the_table_of_experiments(project):
    table.EXPERIMENTS.write_text(table.EXPERIMENTS.read_text().replace("0.25", "0.24"))
    lines = wrong()
    assert "no row with the numbers" in lines[0]
    assert "table tiny" in lines[1]
    table.EXPERIMENTS.write_text("a,b\n1\n")
    assert all("row 2 has 1 cells" in line for line in wrong())


def test_a_number_of_one_of_two_tables_with_a_baseline(project):
    """Only that table is wrong, and the line names the number."""
    ledger.gather(table.EXPERIMENTS, [row(dataset="shapes", experiment=name, method=name) for name in ("full", "tags")])
    marks = "".join(f"<!-- table:{name} baseline:full -->\n<!-- /table:{name} -->\n" for name in ("tiny", "shapes"))
    readme = Path("README.md")
    readme.write_text(marks)
    table.main()
    assert wrong() == []
    readme.write_text(readme.read_text().replace("0.300", "0.310"))
    (line,) = wrong()
    assert line.startswith(
        "README.md: table tiny is not that of metrics/experiments.csv; `make table` mends it: | full"
    )
    assert "0.310" in line


@pytest.mark.parametrize("with_list", [True, False])
def test_members_of_a_directory(project, with_list):
    if not with_list:
        next((CACHE / "files/md5").rglob("*.dir")).unlink()
    flip(PICTURES / "a.png")
    (PICTURES / "more/b.png").unlink()
    (PICTURES / "c.png").write_text("mine")
    (line,) = wrong()
    assert line.startswith("metrics/samples is not what stage evaluate wrote: ")
    if with_list:
        said = "more/b.png is missing; c.png is none of its files; a.png was changed; `dvc checkout` or `dvc repro` "
        assert line.endswith(f"{said}brings it back")
    else:
        assert "the md5 of its list is " in line


def test_a_member_in_the_cache_and_the_list_itself(project):
    flip(object_of(PICTURES / "more/b.png"))
    (line,) = wrong()
    assert "the cache object of metrics/samples/more/b.png" in line
    shutil.copy(PICTURES / "more/b.png", object_of(PICTURES / "more/b.png"))
    assert wrong() == []
    flip(next((CACHE / "files/md5").rglob("*.dir")), 5)
    (line,) = wrong()
    assert "the cache object of metrics/samples: " in line


def test_each_byte_of_each_file_is_noticed(project):
    """Every file that dvc.lock vouches for, and every byte of the shortest ones."""
    for path in [*CACHE.rglob("*"), MODEL, SUMMARY, *PICTURES.rglob("*")]:
        if path.is_file():
            for position in range(min(len(path.read_bytes()), 8)):
                flip(path, position)
                assert wrong(), (path, position)
                flip(path, position)
    assert wrong() == []


def test_what_is_not_here_is_no_fault(project):
    shutil.rmtree(CACHE)
    report = verify.verify(CACHE)
    assert (report.wrong, report.not_in_cache) == ([], ["models/tiny/model.pt", "metrics/samples"])
    MODEL.unlink()
    shutil.rmtree(PICTURES)
    SUMMARY.unlink()
    Path("README.md").unlink()
    report = verify.verify(CACHE)
    assert (report.wrong, report.files) == ([], 0)
    assert report.not_in_workspace == ["models/tiny/model.pt", "metrics/summary.json", "metrics/samples"]
    assert len(report.unchecked) == 2  # the row and the tables


def test_a_member_that_the_cache_lacks_and_an_entry_of_dvc_2(project):
    object_of(PICTURES / "a.png").unlink()
    stages = lock()
    del stages["segment"]["outs"][0]["hash"]
    write_lock(stages)
    report = verify.verify(CACHE)
    assert (report.wrong, report.not_in_cache) == ([], ["metrics/samples/a.png"])
    assert report.unchecked == ["models/tiny/model.pt: dvc.lock has no md5 of DVC 3 for it"]


def test_a_stage_that_read_what_is_older(project):
    stages = lock()
    stages["evaluate"]["deps"][0]["md5"] = "0" * 32
    write_lock(stages)
    (line,) = wrong()
    assert line.startswith(f"dvc.lock: stage evaluate read models/tiny/model.pt with md5 {'0' * 32}, and stage segment")


def test_the_numbers_of_another_experiment_do_not_count(project):
    stages = lock()
    stages["track"]["params"]["params.yaml"]["method"] = "tags"
    write_lock(stages)
    (line,) = wrong()
    assert "for tiny, tags, 0; `dvc repro` writes both" in line


def test_an_object_of_another_experiment(project):
    store(b"older", digest(b"older"))
    assert wrong(every=True) == []
    flip(CACHE / "files/md5" / digest(b"older")[:2] / digest(b"older")[2:])
    assert wrong() == []
    (line,) = wrong(every=True)
    assert "an object of the cache" in line


def test_a_file_that_cannot_be_read_is_named(project, monkeypatch):
    read = hashes.md5

    def refuse(path):
        if path == MODEL:
            raise PermissionError(13, "Permission denied")
        return read(path)

    monkeypatch.setattr(hashes, "md5", refuse)
    assert wrong() == ["models/tiny/model.pt cannot be read ([Errno 13] Permission denied)"]


def test_the_command(project, capsys, monkeypatch):
    monkeypatch.setattr(verify, "cache_folder", lambda: CACHE)
    verify.main([])
    assert capsys.readouterr().out == "8 files read (0.0 MB), nothing is wrong\n"
    shutil.rmtree(PICTURES)
    verify.main(["--all"])
    assert capsys.readouterr().out.splitlines()[0] == (
        "not checked, as the workspace does not have them: metrics/samples"
    )
    flip(MODEL)
    with pytest.raises(SystemExit) as caught:
        verify.main([])
    assert caught.value.code == 1
    assert capsys.readouterr().out.splitlines()[-1].endswith(" MB), 1 faults")
    Path("dvc.lock").unlink()
    with pytest.raises(SystemExit, match=r"sizewise verify: dvc.lock is missing"):
        verify.main([])


def test_what_dvc_itself_wrote_is_sound_until_a_byte_is_changed(tmp_path, monkeypatch):
    """The layout of cache and lock is DVC's own; and `dvc status` does not see what is seen here."""
    monkeypatch.chdir(tmp_path)
    Path("params.yaml").write_text(PARAMS)
    Path("dvc.yaml").write_text(DVC_YAML)
    path = f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}"
    monkeypatch.setenv("PATH", path)
    for command in (["git", "init", "-q"], ["dvc", "init", "-q"], ["dvc", "repro", "-q"]):
        subprocess.run(command, check=True, timeout=120)
    ledger.gather(table.EXPERIMENTS, [row()])
    cache = verify.cache_folder()
    assert cache == tmp_path / ".dvc/cache"
    report = verify.verify(cache, every=True)
    assert (report.wrong, report.not_in_cache, report.not_in_workspace) == ([], [], [])
    assert load("evaluate").outs["samples"] == PICTURES
    target = tmp_path / object_of(MODEL)
    target.chmod(0o644)
    flip(target)
    target.chmod(0o444)  # as DVC leaves it, and a failing disk, too; an object that may be written DVC reads again
    status = subprocess.run(["dvc", "status"], capture_output=True, text=True, check=True, timeout=120).stdout
    assert "up to date" in status
    assert any(str(target) in line for line in verify.verify(cache).wrong)
    monkeypatch.chdir("/")
    with pytest.raises(Fault, match="dvc cache dir"):
        verify.cache_folder()
