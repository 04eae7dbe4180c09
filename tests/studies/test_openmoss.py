"""Report 003 done anew, on a tiny subject of text: trained, pruned, fine-tuned, and taken up again where it was."""

import importlib.util
from dataclasses import replace
from pathlib import Path
from xml.etree import ElementTree

import pytest
import tiny_reader
import tiny_text  # noqa: F401 (enters the registry)
from typer.testing import CliRunner

from unweave import after, files
from unweave.cli import app
from unweave.runs import Run
from unweave.studies.openmoss import EXPERIMENTS, GPT2, Study, carry_out, plan
from unweave.training.prune import Rules
from unweave.view.openmoss import console_tables, experiments, markdown, picture, planned, tables

SITES = ["attn_out.0", "attn_out.1", "mlp_out.0", "mlp_out.1"]


@pytest.fixture(scope="module")
def study(tmp_path_factory: pytest.TempPathFactory):
    folder = tmp_path_factory.mktemp("openmoss")
    text = tiny_reader.write(folder / "text.jsonl", tiny_reader.documents(400))
    with pytest.MonkeyPatch.context() as patched:
        patched.setenv("UNWEAVE_CACHE", str(folder / "cache"))
        yield Study(
            folder=folder / "study",
            subject="tiny_text()",
            text=str(text),
            tokens=3200,
            ratio=2,
            batch=64,
            context=tiny_reader.CONTEXT,
            counted=2000,
            held_out=8,
            rules=Rules(max_activation=0.3),
        )


@pytest.fixture(scope="module")
def found(study: Study):
    stopped = []

    def stop(report) -> None:
        if report.values["step"] == 25 and not stopped:
            stopped.append(report)
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        carry_out(study, on_report=stop)
    with pytest.MonkeyPatch.context() as patched:
        patched.setattr(after.Finetuner, "finish", lambda self: stop_in_the_middle())
        with pytest.raises(KeyboardInterrupt):
            carry_out(study)
    stages: list[str] = []
    made = carry_out(study, lambda what, steps: stages.append(what))
    assert [stage.partition(" ")[0] for stage in stages] == ["training", "pruning,", "fine-tuning"]
    return made


def stop_in_the_middle() -> None:
    raise KeyboardInterrupt


def test_the_setting_is_the_reports() -> None:
    study = Study(folder=Path(), **GPT2)
    config = study.config("mlp_out.4", 768, 1024)
    assert (config.d_sae, config.method) == (24_576, "relu(l1=0.00012)")
    assert (config.normalise, config.b_dec, config.objective) == ("each", "none", "by_centred_norm()")
    assert config.revive == f"ghost_elementwise(after={1_000_000_000 * 5000 // 244_140})"
    t, data = config.training, config.data
    assert (t.steps, t.batch, t.lr, t.optimiser) == (244_140, 4096, 1e-3, "adam(beta1=0.0, beta2=0.9999)")
    assert (t.warmup, round(t.decay * t.steps), t.lr_end, t.decoder_norm) == (5000, 10_000, 1 / 32, "bounded")
    assert (data.context, data.packed) == (256, False)
    assert study.rules == Rules(max_activation=1.0, decoder_norm=0.99, frequency=1e-6)
    assert study.config("mlp_out.4", 256, 1024).method == "relu(l1=0.00036)"


def test_every_site_and_experiment_has_its_figures(study, found) -> None:
    assert [row["site"] for row in found["rows"]] == SITES
    for row in found["rows"]:
        pruned, tuned = (Run(study.folder / verb / row["site"]) for verb in ("pruned", "finetuned"))
        assert row["features"] == 32
        assert row["pruned"]["features"] == 32 - row["removed"]["any"] == tuned.dictionary().d_sae
        assert row["trained"]["features"] == 32
        assert row["trained"] == {
            name: files.read_json(pruned.folder / "prune.json")["before"][key]
            for name, key in zip(row["trained"], ("explained_variance_token/1", *SCORES), strict=True)
        }
        assert [step["verb"] for step in tuned.history] == ["prune", "finetune"]
        assert row["ce"] == pytest.approx(found["rows"][0]["ce"])
    assert found["middle"] == "mlp_out.0"
    assert list(found["curves"]) == ["recipe", *EXPERIMENTS]
    for curve in found["curves"].values():
        assert [point["tokens"] for point in curve] == [64 * step for step in range(1, 51)]
    assert not Run(study.folder / "runs" / "mlp_out.0").dictionary().b_dec.any()
    assert Run(study.folder / "runs" / "mlp_out.0-with-b_dec").dictionary().b_dec.any()


SCORES = ("l0/1", "ce_score/1", "ce_spliced/1", "l2_ratio/1", "shrinkage/1", "features")


def test_it_goes_on_where_it_was_and_keeps_its_settings(study, found, monkeypatch) -> None:
    monkeypatch.setattr(after, "_train", lambda *_: pytest.fail("something was fine-tuned"))
    again = carry_out(study, on_report=lambda report: pytest.fail(f"{report.run.name} was trained"))
    assert again == found == files.read_json(study.folder / "study.json")
    with pytest.raises(ValueError, match=r"made with other settings \(tokens is 3200 there, 12800 here\)"):
        carry_out(replace(study, tokens=12800))
    with pytest.raises(ValueError, match="64 tokens are less than one batch of 1024"):
        Study(folder=Path(), tokens=64)


def test_the_tables_show_them_all(found, tmp_path) -> None:
    assert [len(lines) for _, _, lines in tables(found)] == [3, 2, 2, 3, 2, 2]
    assert [lines[0][0] for _, _, lines in tables(found)] == ["L0M"] * 3 + ["L0A"] * 3
    assert len(console_tables(found)) == 6
    for _, head, lines in tables(found):
        assert all(len(line) == len(head) for line in lines)
        assert markdown(head, lines).count("\n") == 1 + len(lines)
    row = found["rows"][2]
    assert tables(found)[0][2][0][1] == f"{row['finetuned']['explained']:.2%}"
    assert tables(found)[0][2][-1][-1] == f"{row['ce']:.4f}"
    assert tables(found)[1][2][0][4] == str(row["removed"]["any"])
    assert len(experiments(found)) == 3
    drawn = ElementTree.fromstring(picture(found))
    assert len(drawn.findall("{http://www.w3.org/2000/svg}svg")) == 12


def test_the_page_has_every_table(found, tmp_path) -> None:
    path = Path(__file__).parents[2] / "docs" / "openmoss.py"
    spec = importlib.util.spec_from_file_location("openmoss_page", path)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    page = module.page(found, "unweave study openmoss")
    assert page.count("Made by `unweave study openmoss`") == 7
    assert all(f"## {title}" in page for title, _, _ in tables(found))


def test_a_plan_is_arithmetic_and_a_step_that_was_timed(study) -> None:
    made = plan(study, batch=32)
    assert (made["sites"], made["dictionaries"], made["width"], made["features"]) == (4, 6, 16, 32)
    assert (made["tokens"], made["steps"], made["stored"]) == (3200, 50, 4 * 3200 * 4 * 16)
    assert made["operations"] == 3200 * (6 * 10 * 16 * 32 + 24 * 2 * 16**2)
    assert made["hours"] == pytest.approx(made["operations"] / made["per_second"] / 3600)
    assert len(planned(made)) == 5


def test_a_plan_of_a_model_on_the_hub_needs_its_config_alone(monkeypatch) -> None:
    from transformers import AutoConfig, GPT2Config

    monkeypatch.setattr(AutoConfig, "from_pretrained", lambda path: GPT2Config(n_embd=32, n_layer=3, n_head=2))
    made = plan(Study(folder=Path(), **(GPT2 | {"tokens": 1_000_000})), batch=16)
    assert (made["sites"], made["width"], made["features"]) == (6, 32, 1024)

    def unreachable(path: str) -> None:
        raise OSError("We couldn't connect to 'https://huggingface.co'\nand more")

    monkeypatch.setattr(AutoConfig, "from_pretrained", unreachable)
    with pytest.raises(ValueError, match="the config of gpt2 cannot be read: We couldn't connect"):
        plan(Study(folder=Path(), **GPT2))


def test_the_verb(study, found) -> None:
    def said(*words: str) -> str:
        done = CliRunner().invoke(app, ["study", *words], catch_exceptions=False)
        assert done.exit_code == 0
        return done.output

    shown = said("openmoss", "--subject", "tiny_text()", "--text", study.text, "--tokens", "2000", "--plan")
    assert "6 dictionaries of 128 features" in shown
    with pytest.raises(ValueError, match="--games is for the study quaisley, not for openmoss"):
        said("openmoss", "--games", "5")
    with pytest.raises(ValueError, match="no study is called 'openmos'; there are quaisley, openmoss"):
        said("openmos")


def test_what_has_no_attention_or_mlp_outputs_is_refused(study, tmp_path, monkeypatch) -> None:
    monkeypatch.setattr(tiny_reader.Reader, "sites", lambda self: {"embed": tiny_reader.D})
    with pytest.raises(ValueError, match="no attention outputs or no MLP outputs"):
        carry_out(replace(study, folder=tmp_path / "other"))
