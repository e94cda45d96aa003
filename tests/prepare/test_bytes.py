"""The prepared bytes whatever the number of workers."""


def test_bytes_do_not_depend_on_the_number_of_workers(voc, voc_params, prepared, monkeypatch):
    prepared(voc, voc_params(instances="SegmentationObject"))
    monkeypatch.setattr("stages.core.pool.SERIAL", 0)
    alone = prepared.out.read_bytes()
    monkeypatch.setenv("SIZEWISE_JOBS", "3")
    prepared(voc, voc_params(instances="SegmentationObject"))
    assert prepared.out.read_bytes() == alone
