"""params.yaml as immutable values: YAML 1.2, dotted keys, interpolation as DVC does it."""

from __future__ import annotations

import copy
import pickle

import pytest
from dvc.parsing.context import Context

from stages.core.faults import Fault, combine
from stages.core.params import Params, freeze, interpolate, look_up, read_yaml, thaw

TREE = {"dataset": "shapes", "datasets": {"shapes": {"splits": {"train": 8}, "size_bins": [256, 1024]}}}


def test_nested_values_by_attribute_and_key():
    params = Params(TREE)
    assert params.datasets.shapes.splits.train == 8
    assert params["datasets"]["shapes"]["splits"]["train"] == 8
    assert dict(params.datasets.shapes.splits) == {"train": 8}
    assert "shapes" in params.datasets
    assert len(params) == 2


def test_nothing_can_be_changed():
    params = Params(TREE)
    with pytest.raises(AttributeError, match=r"^params\.datasets is read-only$"):
        params.datasets.shapes = 1
    with pytest.raises(TypeError):
        params["dataset"] = "voc12"
    assert params.datasets.shapes.size_bins == (256, 1024)
    tree = copy.deepcopy(TREE)
    held = Params(tree)
    tree["datasets"]["shapes"]["size_bins"].append(5)
    assert held.datasets.shapes.size_bins == (256, 1024)


def test_a_missing_key_names_the_section_and_its_keys():
    params = Params(TREE)
    message = r"^params\.datasets\.shapes has no key 'size_bin'; it has splits, size_bins$"
    with pytest.raises(Fault, match=message):
        _ = params.datasets.shapes.size_bin
    with pytest.raises(Fault, match=r"^empty has no key 'x'; it has none$"):
        Params({}, "empty")["x"]


def test_copies_are_equal_and_know_their_name():
    params = Params(TREE, "params")
    for other in (pickle.loads(pickle.dumps(params)), copy.deepcopy(params), copy.copy(params)):  # noqa: S301 - our own
        assert other == params
        assert other.plain() == TREE
        with pytest.raises(Fault, match=r"^params\.datasets has no key 'x'"):
            _ = other.datasets.x


def test_freeze_and_thaw_are_inverse():
    value = {"a": [1, {"b": [2.5, "x", None, True]}], "c": {}}
    assert thaw(freeze(value, "p")) == value
    assert freeze(value, "p").a[1].b == (2.5, "x", None, True)


def test_yaml_1_2(tmp_path):
    """In YAML 1.1, the first is text and the next two are truth values."""
    path = tmp_path / "params.yaml"
    path.write_text("lr: 1e-05\nflag: yes\nmode: off\nseed: 010\ncrf: none\nnothing: null\n")
    assert read_yaml(path) == {"lr": 1e-5, "flag": "yes", "mode": "off", "seed": 10, "crf": "none", "nothing": None}


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"a: [1\nb: 2\n", "is not YAML in line 2"),
        (b"a: 1\na: 2\n", "is not YAML in line 2: found duplicate key"),
        (b"- 1\n", "holds no mapping"),
        (b"", "holds no mapping"),
        (b"a: \xff\n", "is not UTF-8 text"),
    ],
)
def test_what_is_no_mapping_of_yaml(tmp_path, content, message):
    path = tmp_path / "params.yaml"
    path.write_bytes(content)
    with pytest.raises(Fault) as caught:
        read_yaml(path)
    assert str(caught.value).startswith(f"{path} {message}")
    assert "\n" not in str(caught.value)


def test_a_missing_file(tmp_path):
    with pytest.raises(Fault, match=r"params\.yaml is missing; run the command in the project's folder$"):
        read_yaml(tmp_path / "params.yaml")


def test_look_up():
    assert look_up(TREE, "datasets.shapes.splits.train") == 8
    with pytest.raises(Fault, match=r"^params\.yaml has no 'datasets\.voc12\.splits': datasets holds shapes$"):
        look_up(TREE, "datasets.voc12.splits")
    with pytest.raises(Fault, match=r"^params\.yaml has no 'dataset\.x': dataset holds a single value$"):
        look_up(TREE, "dataset.x")
    with pytest.raises(Fault, match=r"^dvc\.yaml has no 'x': its top level holds dataset, datasets$"):
        look_up(TREE, "x", "dvc.yaml")


@pytest.mark.parametrize(
    "text", ["data/${dataset}/raw.zip", "${dataset}", "recipes.${dataset}.methods.${method}", "${a.b}", "plain", "$x"]
)
def test_interpolation_is_dvcs(text):
    tree = {"dataset": "voc-12", "method": "full", "a": {"b": 3}}
    assert interpolate(text, tree) == str(Context(tree).resolve_str(text))


def test_interpolation_of_a_missing_key():
    with pytest.raises(Fault, match=r"^params\.yaml has no 'dataset'"):
        interpolate("data/${dataset}/raw.zip", {})


def test_combine():
    assert str(combine("bad", ["a"])) == "bad (1 fault):\n  - a"
    assert str(combine("bad", ["a", "b", "c"], most=2)) == "bad (3 faults):\n  - a\n  - b\n  ... and 1 more"
