"""Report 001 done anew, here on a tiny subject: every row and question, and taken up again where it was."""

import copy
from dataclasses import replace
from pathlib import Path

import pytest
import torch

from unweave import files
from unweave.dictionary import METHODS, Dictionary
from unweave.registry import parse
from unweave.studies.quaisley import ENTRIES, QUESTIONS, Study, active, carry_out, progressive
from unweave.subject import disk
from unweave.subject.gpt import GPT, GPTConfig
from unweave.subject.othello import ALPHABET
from unweave.view.quaisley import answers, console_table, markdown, questions_markdown, questions_table, rows


@pytest.fixture(scope="module")
def study(tmp_path_factory: pytest.TempPathFactory) -> Study:
    folder = tmp_path_factory.mktemp("study")
    torch.manual_seed(0)
    disk.save(GPT(GPTConfig(n_layers=1, d_model=16, n_heads=2), ALPHABET), folder / "subject")
    return Study(
        folder=folder / "runs", subject=str(folder / "subject"), site="resid_post.0", d_sae=96, games=10, held_out=10
    )


@pytest.fixture(scope="module")
def found(study: Study):
    return carry_out(study)


def test_its_coefficients_are_the_reports() -> None:
    """As ground truth has them: alpha, delta, k and epsilon of each best row, and what it found."""
    said = {parse(entry.call)[0]: (parse(entry.call)[1], entry.classifiers) for entry in ENTRIES}
    assert said["relu"][0]["l1"] == pytest.approx(0.077 / 1024, rel=1e-4)
    assert said["smoothed_l0"] == ({"alpha": 0.7, "delta": 10.0}, 38)
    assert said["freshmans_dream"] == ({"alpha": 1.2}, 21)
    assert said["leaky_topk"] == ({"k": 70, "epsilon": 0.5, "relative": False}, 45)
    assert said["topk"] == ({"k": 85}, 34)
    assert [entry.classifiers for entry in ENTRIES] == [1, 29, 38, 21, 28, 45, 34, 43]


def test_every_call_can_be_built_and_is_one_of_those_tried() -> None:
    for entry in ENTRIES:
        METHODS.build(entry.call)
        for call in entry.around:
            METHODS.build(call)
        settings = [(parse(call)[0], sorted(parse(call)[1].items())) for call in entry.around]
        assert len({str(each) for each in settings}) == len(settings)
    for call, _ in QUESTIONS.values():
        METHODS.build(call)


def test_the_setting_is_the_reports(study: Study) -> None:
    config = Study(folder=Path()).config("topk(k=85)", 100_000)
    assert (config.site, config.d_sae, config.objective) == ("resid_post.3", 1024, "unsquared(by_width=True)")
    assert config.training.steps == 100_000 * 59 * 4 // 1024
    assert (config.training.lr, config.data.passes, config.normalise) == (1e-3, 4, "none")


def test_every_row_and_question_has_its_figures(found) -> None:
    assert [row["method"] for row in found["rows"]] == [parse(entry.call)[0] for entry in ENTRIES]
    for row in [*(r["its"] for r in found["rows"]), *(r["ours"] for r in found["rows"]), *found["questions"]]:
        assert 0 <= row["active"] <= 1
        assert row["classifiers"] >= 0
        assert row["progressive"].keys() == {"16", "32", "64"}
    for row, entry in zip(found["rows"], ENTRIES, strict=True):
        assert row["ours"]["call"] in entry.around
    assert len(found["questions"]) == len(QUESTIONS)


def test_the_tables_show_them_all(found) -> None:
    assert console_table(found).row_count == len(ENTRIES)
    assert all(len(cells) == 14 for cells in rows(found))
    assert questions_table(found).row_count == len(QUESTIONS)
    for table in markdown(found).split("\n\n"):
        assert table.count("\n") == 1 + len(ENTRIES)
        assert len({line.count("|") for line in table.splitlines()}) == 1
    assert questions_markdown(found).count("\n") == 1 + len(QUESTIONS)


def test_the_answers_carry_the_figures_of_their_questions(found) -> None:
    made = copy.deepcopy(found)
    for i, row in enumerate(made["questions"]):
        row |= {"classifiers": 100 + i, "fvu": 0.001 * (i + 1), "dead": 0.01 * (i + 1)}
        row["progressive"] = {"16": 0.9, "64": 0.1 + 0.001 * i, "128": 0.05}
    dead, alike, progressive_code, deeper = answers(made)
    assert "1.0% are dead with an independent encoder, 2.0% with the transpose" in dead
    assert "Multi-TopK has 102 classifiers and 0.3% unexplained, leaky top-k 103" in alike
    assert "Unexplained is 10.3% at 64, 5.0% at 128;" in progressive_code
    assert "for TopK 10.0% at 64" in progressive_code
    assert "leaky top-k has 105 classifiers and 0.6% unexplained (without: 104" in deeper


def test_it_goes_on_where_it_was(study: Study, found) -> None:
    again = carry_out(study, on_report=lambda report: pytest.fail(f"{report.run.name} was trained"))
    assert again == found == files.read_json(study.folder / "study.json")


def test_figures_without_weights_are_enough(study: Study, found, tmp_path: Path) -> None:
    for path in ("settings.json", *(f.relative_to(study.folder) for f in study.folder.rglob("*/*/*.json"))):
        if Path(path).name in ("settings.json", "validation.json", "study.json"):
            files.write_json(tmp_path / path, files.read_json(study.folder / path))
    again = carry_out(replace(study, folder=tmp_path), on_report=lambda report: pytest.fail("something was trained"))
    assert again == found
    assert not [*tmp_path.rglob("*.safetensors")]


def test_what_is_active_is_above_the_reports_bound(found) -> None:
    bounds = {row["method"]: row["report"]["above"] for row in found["rows"]}
    assert {name: bound for name, bound in bounds.items() if bound} == {"smoothed_l0": 1.0, "dimension_reduction": 0.01}
    d = Dictionary(4, 4, "relu")
    with torch.no_grad():
        d.W_dec.copy_(torch.eye(4))
        d.coder.W_enc.copy_(torch.eye(4))  # type: ignore[operator]
    x = torch.tensor([[2.0, 0.5, -3.0, 0.0], [1.0, 1.5, 0.0, 0.0]])
    assert active(d, x, (0.0, 0.5, 1.0)) == {"0": 4 / 8, "0.5": 3 / 8, "1": 2 / 8}


def test_a_progressive_code_gets_better_with_every_feature() -> None:
    d = Dictionary(8, 16, "relu")
    with torch.no_grad():  # every direction and its opposite: all of x, in its largest entries first
        d.W_dec.copy_(torch.cat([torch.eye(8), -torch.eye(8)]))
        d.coder.W_enc.copy_(d.W_dec.T)  # type: ignore[operator]
    x = torch.randn(300, 8, generator=torch.Generator().manual_seed(0))
    fvu = progressive(d, x, (1, 2, 4, 8))
    assert list(fvu.values()) == sorted(fvu.values(), reverse=True)
    assert fvu["8"] == pytest.approx(0, abs=1e-6)
    largest = x.square().amax(1).sum() / (x - x.mean(0)).square().sum()
    assert fvu["1"] == pytest.approx((x.square().sum() / (x - x.mean(0)).square().sum() - largest).item(), rel=1e-4)
