"""What must hold between the sections of params.yaml."""

from __future__ import annotations

import pytest

from stages.check import relations


def test_unknown_data_set(faults):
    line = "dataset: 'drwn' is not under datasets; there are: drawn, pascal, mine, heart; did you mean 'drawn'?"
    assert faults({"dataset": "drwn"}) == [line]


def test_unknown_method(faults):
    line = (
        "method: 'fulll' is not a method; there are: full, pseudo_mask, size_balanced, "
        "size_target, tags, single_stage, rrm; did you mean 'full'?"
    )
    assert faults({"method": "fulll"}) == [line]


def test_every_data_set_has_a_recipe_and_every_recipe_a_data_set(change, folder):
    tree = change({})
    tree["recipes"]["pascla"] = tree["recipes"].pop("pascal")
    assert relations.relation_faults(tree, folder) == [
        "recipes: data set 'pascal' has no recipe of its name; did you mean 'pascla'?",
        "recipes.pascla: there is no data set 'pascla'; there are: drawn, pascal, mine, heart; did you mean 'pascal'?",
    ]


def test_predicted_splits_exist(faults):
    line = "recipes.pascal.predict.splits: data set 'pascal' has no split 'vla'; it has train, val; did you mean 'val'?"
    assert faults({"recipes.pascal.predict.splits": ["val", "vla"]}) == [line]


def test_splits_that_lie_on_disk_are_left_to_prepare(faults):
    assert faults({"recipes.mine.predict.splits": ["val", "hospital_b"]}) == []


def test_the_headline_split_is_a_split_and_predicted(faults):
    assert faults({"datasets.pascal.headline": "test"}) == [
        "datasets.pascal.headline: must be one of lists (train, val), is 'test'",
        "recipes.pascal.predict.splits: must hold 'test', the headline of data set 'pascal', is ['val']",
    ]


def test_a_generated_data_set_has_its_generator_as_source(faults, tmp_path):
    line = "source: data set 'drawn' is generated, so source must be stages/download/source.py, is {}"
    for source in (str(tmp_path), "absent.py"):
        assert faults({"source": source}) == [line.format(repr(source))]


@pytest.mark.parametrize("source", ["generator.py", "VOC2012", "~/VOC2012"])
def test_a_data_set_on_disk_has_an_absolute_source(faults, source):
    line = (
        "source: data set 'pascal' is read from disk, so source must be an absolute path, as in -S source=/abs/path, "
        f"is {source!r}"
    )
    assert faults({"dataset": "pascal", "source": source}) == [line]


def test_a_source_that_is_not_there(faults, tmp_path):
    line = f"source: {tmp_path}/absent does not exist; it must be where the raw data of 'pascal' lie"
    assert faults({"dataset": "pascal", "source": f"{tmp_path}/absent"}) == [line]
    assert faults({"dataset": "pascal", "source": str(tmp_path)}) == []


def test_sizes_and_crops_exclude_each_other_where_they_are_chosen(faults):
    line = (
        "recipes.drawn.segmenter.augment.crop: must be none for method size_target, because a crop changes the sizes "
        "that it trains on, is 64"
    )
    crop = {"recipes.drawn.segmenter.augment.crop": 64}
    assert faults(crop) == [line]
    assert faults(crop | {"method": "full"}) == []


def test_nested_masks_have_a_recipe_and_a_background(faults, tmp_path):
    chosen = {"methods.size_target.seeds": "nested_masks"}
    line = (
        "recipes.drawn.methods.size_target.nested: must be a section where methods.size_target.seeds is nested_masks, "
        "as recipes.acdc_png has it, is none"
    )
    assert faults(chosen) == [line]
    nested = {"inner": "a", "outer": "b", "beside": "c", "series": "none", "long_side": 64, "reach": 2, "trust": 0.5}
    series = {"series": "(?P<subject>[a-z]+)_(?P<place>.*)"}
    for section in (nested, nested | series):
        assert faults(chosen | {"recipes.drawn.methods.size_target.nested": section}) == []
    assert faults(chosen | {"method": "full"}) == []
    mine = {"dataset": "mine", "source": str(tmp_path), "size_targets.renormalise": "all"}
    needs = "methods.size_target.seeds: nested_masks need a background, which data set 'mine' lacks"
    assert faults(chosen | mine | {"recipes.mine.methods.size_target.nested": nested}) == [needs]


def test_something_is_learnt_from(faults):
    weightless = {"recipes.drawn.methods.size_target.size_weight": 0}
    line = (
        "recipes.drawn.methods.size_target.size_weight: must be > 0 where methods.size_target.seeds is none and "
        "nothing is labelled, is 0"
    )
    assert faults(weightless) == [line]
    assert faults(weightless | {"methods.size_target.labelled": 1}) == []
    assert faults(weightless | {"methods.size_target.seeds": "pseudo_masks"}) == []


def test_a_data_set_without_background(faults, tmp_path, monkeypatch):
    chosen = {"dataset": "mine", "source": str(tmp_path), "method": "full"}
    line = "size_targets.renormalise: must be all for data set 'mine', which has no background, is 'background'"
    assert faults(chosen) == [line]
    assert faults(chosen | {"size_targets.corruption": "none"}) == []
    for corruption in ("human", "quantised", "swapped", "missing"):
        assert faults(chosen | {"size_targets.corruption": corruption}) == []
    assert faults(chosen | {"size_targets.corruption": "biased"}) == [
        "size_targets.corruption: must be another one for data set 'mine', which has no background to take from or "
        "give to, is 'biased'"
    ]
    assert faults(chosen | {"size_targets.corruption": "lognormal"}) == [line]
    suits = chosen | {"size_targets.renormalise": "all"}
    assert faults(suits) == []
    included = "size_targets.void: must be excluded for data set 'mine', which has no background to count void in"
    assert faults(suits | {"size_targets.void": "included"}) == [included]
    monkeypatch.setattr(relations, "BACKGROUND", ("full",))
    needs = "method: full needs a background, which data set 'mine' lacks (background: false); choose another"
    assert faults(suits) == [needs]
    assert faults({"method": "full"}) == []


def test_pseudo_masks_are_made_here_or_lie_at_an_absolute_path(faults, tmp_path):
    assert faults({"pseudo_masks": str(tmp_path)}) == []
    for value, message in (
        ("masks", "must be the absolute path of a folder or zip of label maps"),
        (f"{tmp_path}/absent", "absent does not exist"),
        ("absent.py", "must be the module that makes them"),
        (f"{tmp_path}/generator.py", "must be the module that makes them"),
    ):
        (line,) = faults({"pseudo_masks": value})
        assert line.startswith("pseudo_masks: ")
        assert message in line


def test_sizes_of_a_file_lie_at_an_absolute_path(faults, tmp_path):
    sizes = tmp_path / "sizes.csv"
    sizes.touch()
    for source in ("masks", "file", "boxes"):
        assert faults({"size_file": str(sizes), "size_targets.source": source}) == []
    assert faults({"size_targets.source": "boxes"}) == []
    line = (
        "size_file: must be the absolute path of a CSV file where size_targets.source is file, as in "
        "-S size_file=/abs/sizes.csv, is 'generator.py'"
    )
    assert faults({"size_targets.source": "file"}) == [line]
    for value, message in (
        ("sizes.csv", "must be the absolute path of a CSV file of sizes or boxes"),
        (f"{tmp_path}/absent.csv", "absent.csv is no file"),
        (str(tmp_path), "is no file"),
        ("absent.py", "must be the module that reads it"),
        (f"{tmp_path}/generator.py", "must be the module that reads it"),
    ):
        (line,) = faults({"size_file": value})
        assert line.startswith("size_file: ")
        assert message in line


def test_a_walk_needs_a_boundary_network(faults):
    """In any recipe; without a walk the network may be there or not."""
    none = {"recipes.pascal.affinity": {"kind": "none"}}
    line = "recipes.pascal.refine.walk: must be none where affinity.kind is none; a walk needs kind irn"
    assert faults(none) == [line]
    assert faults(none | {"recipes.pascal.refine.walk": "none"}) == []
    assert faults({"recipes.pascal.refine.walk": "none"}) == []


@pytest.mark.parametrize("rule", ["validation", "unsupervised"])
def test_a_threshold_is_chosen_only_against_a_background(faults, rule):
    line = (
        "recipes.mine.refine.threshold: must be fixed for data set 'mine', which has no background to part from, "
        f"is '{rule}'"
    )
    assert faults({"recipes.mine.refine.threshold": rule}) == [line]
    assert faults({"recipes.pascal.refine.threshold": rule}) == []
    assert faults({"recipes.mine.refine.threshold": rule, "datasets.mine.background": True}) == []


def test_relations_say_nothing_about_what_is_missing_or_of_another_type(folder):
    names = ("dataset", "method", "source", "pseudo_masks", "size_file", "datasets", "recipes", "size_targets")
    for value in (None, 3, [], {}, {"drawn": None}, {"drawn": {"predict": {"splits": 3}, "format": []}}):
        relations.relation_faults(dict.fromkeys(names, value), folder)
    assert relations.relation_faults({}, folder) == []


def test_each_task_of_size_balanced_has_an_epoch(faults):
    key = "recipes.drawn.methods.size_balanced"
    chosen = {"method": "size_balanced", f"{key}.task_a": 0.5}
    assert faults(chosen) == []
    rule = f"{key}.task_a: must leave each task one of 3 epochs (or be 0 with ewc_weight 0), is "
    assert faults(chosen | {f"{key}.task_a": 1.0}) == [rule + "1.0"]
    assert faults(chosen | {f"{key}.task_a": 0.1}) == [rule + "0.1"]
    assert faults(chosen | {f"{key}.task_a": 0.0, f"{key}.ewc_weight": 0}) == []
    assert faults({"method": "full", f"{key}.task_a": 1.0}) == []


def test_hard_examples_are_not_smoothed(faults):
    key = "recipes.drawn.methods.full.label_smoothing"
    assert faults({key: 0.1}) == [f"{key}: must be 0 where methods.full.ce is ohem, is 0.1"]
    assert faults({key: 0.1, "methods.full.ce": "plain"}) == []


def test_a_plain_transformer_has_one_level(faults):
    vit = {"recipes.drawn.classifier.encoder": "tu-vit_tiny_patch16_224"}
    stride = "recipes.drawn.segmenter.output_stride"
    assert faults(vit | {stride: 16}) == []
    assert faults(vit) == [f"{stride}: must be the classifier's (16), the patches of the transformer, is 8"]
    architecture = "recipes.drawn.segmenter.architecture"
    assert faults(vit | {stride: 16, architecture: "fcn_skip"}) == [
        f"{architecture}: must be fcn, linear, deeplabv2 on a plain vision transformer, is 'fcn_skip'"
    ]


MASKED = {"dataset": "mine", "datasets.mine.background": True, "datasets.mine.tags": "file"}
LACKS = "for data set 'mine', whose training images have no masks (masks: {})"


OTHER_SIZES = "size_targets.source: must be pseudo_masks, or file or boxes with a size_file, "


@pytest.mark.parametrize("masks", ["evaluated", "none"])
@pytest.mark.parametrize(
    ("values", "line"),
    [
        ({"method": "full"}, "method: must be another than full "),
        (
            {"method": "size_balanced", "methods.size_balanced.labels": "masks"},
            "methods.size_balanced.labels: must be pseudo_masks ",
        ),
        (
            {"method": "size_target"},
            OTHER_SIZES,
        ),
        (
            {"method": "pseudo_mask", "methods.pseudo_mask.match_sizes": True},
            OTHER_SIZES,
        ),
        (
            {"method": "size_target", "size_targets.source": "pseudo_masks", "methods.size_target.labelled": 5},
            "methods.size_target.labelled: must be 0 ",
        ),
    ],
)
def test_what_reads_masks_of_train_needs_them(faults, tmp_path, masks, values, line):
    chosen = MASKED | {"source": str(tmp_path)} | values
    (found,) = faults(chosen | {"datasets.mine.masks": masks})
    assert found.startswith(line + LACKS.format(masks))
    assert faults(chosen | {"datasets.mine.masks": "all"}) == []


@pytest.mark.parametrize("method", ["tags", "pseudo_mask", "size_balanced", "single_stage", "rrm"])
def test_what_reads_no_masks_of_train_goes_without(faults, tmp_path, method):
    chosen = MASKED | {"source": str(tmp_path), "method": method}
    assert faults(chosen | {"datasets.mine.masks": "evaluated"}) == []
    pseudo = {"method": "size_target", "size_targets.source": "pseudo_masks", "datasets.mine.masks": "none"}
    assert faults(chosen | pseudo) == []


def test_choices_on_val_need_its_masks(faults, tmp_path):
    chosen = MASKED | {"source": str(tmp_path), "method": "tags"}
    chosen |= {"recipes.mine.refine.threshold": "validation", "recipes.mine.predict.model": "best"}
    assert faults(chosen | {"datasets.mine.masks": "evaluated"}) == []
    assert faults(chosen | {"datasets.mine.masks": "none"}) == [
        "recipes.mine.refine.threshold: must be fixed or unsupervised, since val of 'mine' has no masks",
        "recipes.mine.predict.model: must be last, since val of 'mine' has no masks to find the best with",
    ]
