"""The page of plots in a real browser: every plot is drawn, of one revision and of two, and nothing needs a network."""

import pytest
from dvc_render import VegaRenderer

from stages.core.faults import Fault
from stages.track import offline_page
from tests.browser import headless, missing
from tests.pipeline import plots_page
from tests.pipeline.repository import ROOT

# Of each chart: its id, the number of marks that have a height, and all text.
CHARTS = """
const charts = [];
for (const chart of document.querySelectorAll("main > div:not(.pictures)")) {
  const marks = [...chart.querySelectorAll("[role=graphics-symbol]")];
  const texts = [...chart.querySelectorAll("text")].map((text) => text.textContent);
  charts.push([chart.id, marks.filter((mark) => mark.getBoundingClientRect().height).length, texts]);
}
return charts;
"""
PICTURES = """
const caption = (picture) => picture.previousElementSibling;
const text = (picture) => caption(picture).hidden ? "" : caption(picture).textContent;
return [...document.querySelectorAll(".pictures img")].map((image) => [image.alt, text(image), image.naturalWidth]);
"""
IDS = [VegaRenderer.remove_special_chars(title) for title in plots_page.tables()]  # of the charts in DVC's page


@pytest.fixture(scope="module")
def scripts(tmp_path_factory):
    if missing():
        pytest.skip(missing())
    folder = tmp_path_factory.mktemp("scripts")
    if reason := plots_page.fetch_scripts(folder):
        pytest.skip(reason)
    return folder


@pytest.fixture(scope="module")
def repository(scripts, tmp_path_factory):
    made = plots_page.repository_of_metrics(tmp_path_factory.mktemp("plots") / "repository", scripts)
    plots_page.write_missing_tables(made.folder / "metrics")
    made.run("git", "add", "--all", "--force", "metrics")  # the pictures too, so that a revision has them
    made.run("git", "commit", "-qam", "one")
    made.run("git", "tag", "one")
    return made


@pytest.fixture(scope="module")
def browser(scripts):
    with headless(plots_page.WIDTH, plots_page.HEIGHT) as made:
        yield made


def drawn(browser, repository):
    """The charts and the pictures of the page, which complains of nothing and asks for nothing from elsewhere."""
    plots_page.open_page(browser, repository)
    assert browser.console() == []
    assert {address.split(":")[0] for address in browser.requested()} <= {"file", "data"}
    return browser.run(CHARTS), browser.run(PICTURES)


def test_every_plot_of_dvc_yaml_is_drawn(browser, repository):
    repository.run("dvc", "plots", "show")
    charts, pictures = drawn(browser, repository)
    assert [chart for chart, _, _ in charts] == IDS  # no other, and in this order
    assert [chart for chart, marks, _ in charts if not marks] == []
    names = {f"metrics/{folder}/{name}" for folder, found in plots_page.FOLDERS.items() for name in found}
    assert {name for name, _, _ in pictures} == names
    assert all(width for _, _, width in pictures)
    assert not any(caption for _, caption, _ in pictures)
    assert browser.run("return document.documentElement.scrollWidth <= innerWidth")
    assert browser.run("return document.querySelector('#missing').hidden")


def test_two_revisions_are_in_every_plot(browser, repository):
    plots_page.change_metrics(repository.folder / "metrics", 0.8)
    repository.run("dvc", "plots", "diff", "one")
    charts, pictures = drawn(browser, repository)
    assert [chart for chart, _, _ in charts] == IDS
    assert [chart for chart, _, texts in charts if not {"workspace", "one"} <= set(texts)] == []
    captions = {(name, caption) for name, caption, width in pictures if width}
    assert len(captions) == 2 * sum(map(len, plots_page.FOLDERS.values()))
    assert browser.text(".subtitle") in {"workspace, one", "one, workspace"}


def test_a_plot_without_rows_leaves_no_trace(browser, repository):
    """DVC writes it as `vegaEmbed('#id', {})`, an error in the console."""
    page = repository.folder / "dvc_plots/index.html"
    template = (repository.folder / offline_page.OFFLINE).read_text(encoding="utf-8").replace("{refresh_tag}", "")
    page.parent.mkdir(exist_ok=True)
    page.write_text(template.replace("{plot_divs}", VegaRenderer([], "Nothing").generate_html()))
    assert drawn(browser, repository) == ([], [])


def test_a_page_without_scripts_says_what_to_do(browser, repository, tmp_path):
    page = offline_page.SCRIPT.sub("", (ROOT / offline_page.TEMPLATE).read_text(encoding="utf-8"))
    (tmp_path / "page.html").write_text(page.replace("{plot_divs}", "").replace("{refresh_tag}", ""))
    browser.open((tmp_path / "page.html").as_uri())
    assert "python -m stages.track.offline_page" in browser.text("#missing")


def template(*scripts):
    return "".join(
        f'<script src="https://cdn.example.org/{name}" integrity="sha384-{digest}" crossorigin="anonymous"></script>'
        for name, digest in scripts
    )


# SHA-384 of `x = "</SCRIPT><!--" < /a</`, by `openssl dgst -sha384 -binary | base64`
TEXT, DIGEST = b'x = "</SCRIPT><!--" < /a</', "iIjIN5HlZAmXwlCZXQP9te/pnG9s/Mm8oqdVXLRI/uy/9Es4kQdAP1RdGQV24+Yf"


def test_scripts_go_into_the_page_and_cannot_end_their_element(tmp_path):
    (tmp_path / "a.js").write_bytes(TEXT)
    page = offline_page.inlined(template(("a.js", DIGEST)), offline_page.from_folder(tmp_path))
    assert page == '<script>x = "<\\/SCRIPT><\\!--" < /a</</script>'


def test_another_script_and_a_missing_one_are_named_at_once(tmp_path):
    (tmp_path / "a.js").write_bytes(TEXT + b" ")
    with pytest.raises(Fault) as caught:
        offline_page.inlined(template(("a.js", DIGEST), ("b.js", DIGEST)), offline_page.from_folder(tmp_path))
    assert "a.js: the checksum is" in str(caught.value)
    assert "b.js: No such file" in str(caught.value)


def test_the_template_names_every_script_by_version_and_checksum():
    page = (ROOT / offline_page.TEMPLATE).read_text(encoding="utf-8")
    assert page.count("<script src=") == len(offline_page.SCRIPT.findall(page)) == 3
    assert all(plots_page.ADDRESS.search(match["address"]) for match in offline_page.SCRIPT.finditer(page))
