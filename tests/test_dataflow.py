"""Who sees what: which rows reach every training, measurement, attack and control of a run.

The tables are literal: a line a stage, a measurement or an attack. "beside" are frozen models and labels, "loss on" the
texts whose perplexity, membership or held-out loss is taken; x16 counts different rows. A failure prints the table as
it is now, in Markdown. support/flow.py has the world and the spies.
"""

import dataclasses
import json

import jax
import pytest
from support.flow import Flow, write_flow
from support.mesh import mesh_of

from jaxunlearn import attacks
from jaxunlearn.config import Repair, load_config
from jaxunlearn.run import open_run
from jaxunlearn.stages import MAKING
from jaxunlearn.stages.evaluate import context_of, evaluate
from jaxunlearn.stages.label import label
from jaxunlearn.stages.pretrain import STAGE_OF, blocks_of, fine_tuned, pretrain
from jaxunlearn.stages.unlearn import unlearn

RUN = """
| at | model | trains on | beside | is asked | writes after | loss on |
|---|---|---|---|---|---|---|
| baseline | fresh | forget x16; retain x16 |  |  |  |  |
| reinforce | baseline | forget x16 |  |  |  |  |
| label |  |  | baseline=baseline; reinforced=reinforce | forget; forget to report; forget to tune on |  |  |
| unlearn | baseline | forget x16 | labels of alpha 5 translated | the choose prompts | after the choose prompts | forget to tune on (of alpha 5 translated); text to tune on |
| dictionary_alone | baseline | forget x16 | labels of alpha 0 translated | the choose prompts | after the choose prompts | forget to tune on (of alpha 0 translated); text to tune on |
| own_argmax | baseline | forget x16 | labels of alpha 0 untranslated | the choose prompts | after the choose prompts | forget to tune on (of alpha 0 untranslated); text to tune on |
| retain_only | baseline | retain x16 |  | the choose prompts | after the choose prompts | text to tune on |
| repair | unlearn, step 4 | repair x8 |  | the report prompts | after the report prompts | text to report |
| twin | fresh | retain x16 |  |  |  |  |
| evaluate baseline | baseline; twin |  |  | the report prompts | after the report prompts; forget; leak probe | passages: forget; passages: forget to report; text to report |
| evaluate unlearned | twin; unlearn, step 4 |  |  | the report prompts | after the report prompts; forget; leak probe | passages: forget; passages: forget to report; text to report |
| evaluate twin | twin |  |  | the report prompts | after the report prompts; forget; leak probe | passages: forget; passages: forget to report; text to report |
| evaluate reinforced | reinforce; twin |  |  | the report prompts | after the report prompts; forget; leak probe | passages: forget; passages: forget to report; text to report |
| evaluate repaired | repair; twin |  |  | the report prompts | after the report prompts; forget; leak probe | passages: forget; passages: forget to report; text to report |
| evaluate dictionary alone (alpha 0) | dictionary_alone, step 4; twin |  |  | the report prompts | after the report prompts; forget; leak probe | passages: forget; passages: forget to report; text to report |
| evaluate own argmax labels | own_argmax, step 4; twin |  |  | the report prompts | after the report prompts; forget; leak probe | passages: forget; passages: forget to report; text to report |
| evaluate retain text alone | retain_only, step 4; twin |  |  | the report prompts | after the report prompts; forget; leak probe | passages: forget; passages: forget to report; text to report |
| attack measure, output filter | baseline |  |  | the report prompts | after the report prompts | text to report |
| attack stress test | baseline | fact x3; forget x16; retain x16 | labels of alpha 5 translated |  |  |  |
| attack measure, half frozen | attack stress test |  |  | the report prompts | after the report prompts | text to report |
| attack relearn, unlearned | unlearn, step 4 | forget x3 |  | next word (report) |  |  |
| attack relearn, twin | twin | forget x3 |  | next word (report) |  |  |
| attack relearn, half frozen | attack stress test | forget x3 |  | next word (report) |  |  |
| attack relearn, baseline | baseline | forget x3 |  | next word (report) |  |  |
| attack relearn, unlearned, unrelated text | unlearn, step 4 | retain x3 |  | next word (report) |  |  |
| attack quantise_int8, baseline | baseline in int8 |  |  | choice (report); leak probe; next word (report) |  | retain to report x2 |
| attack quantise_int4, baseline | baseline in int4 |  |  | choice (report); leak probe; next word (report) |  | retain to report x2 |
| attack quantise_nf4, baseline | baseline in nf4 |  |  | choice (report); leak probe; next word (report) |  | retain to report x2 |
| attack quantise_int8, unlearned | unlearn, step 4 in int8 |  |  | choice (report); leak probe; next word (report) |  | retain to report x2 |
| attack quantise_int4, unlearned | unlearn, step 4 in int4 |  |  | choice (report); leak probe; next word (report) |  | retain to report x2 |
| attack quantise_nf4, unlearned | unlearn, step 4 in nf4 |  |  | choice (report); leak probe; next word (report) |  | retain to report x2 |
| attack quantise_int8, twin | twin in int8 |  |  | choice (report); leak probe; next word (report) |  | retain to report x2 |
| attack quantise_int4, twin | twin in int4 |  |  | choice (report); leak probe; next word (report) |  | retain to report x2 |
| attack quantise_nf4, twin | twin in nf4 |  |  | choice (report); leak probe; next word (report) |  | retain to report x2 |
| attack context, baseline | baseline |  |  | forget; next word (report); retain |  |  |
| attack context, unlearned | unlearn, step 4 |  |  | forget; next word (report); retain |  |  |
| attack context, twin | twin |  |  | forget; next word (report); retain |  |  |
| attack relearn, unlearned, 1% of the text (1 block, 3 epochs) | unlearn, step 4 | forget x1 |  | next word (report) |  |  |
| attack relearn, twin, 1% of the text (1 block, 3 epochs) | twin | forget x1 |  | next word (report) |  |  |
| attack relearn, unlearned, 10% of the text (2 blocks, 3 epochs) | unlearn, step 4 | forget x2 |  | next word (report) |  |  |
| attack relearn, twin, 10% of the text (2 blocks, 3 epochs) | twin | forget x2 |  | next word (report) |  |  |
| attack relearn, unlearned, 100% of the text (16 blocks, 3 epochs) | unlearn, step 4 | forget x16 |  | next word (report) |  |  |
| attack relearn, twin, 100% of the text (16 blocks, 3 epochs) | twin | forget x16 |  | next word (report) |  |  |
| attack ways, baseline | baseline |  |  | next word (report) |  |  |
| attack ways, unlearned, adam | unlearn, step 4 | forget x3 |  | next word (report) |  |  |
| attack ways, twin, adam | twin | forget x3 |  | next word (report) |  |  |
| attack ways, unlearned, lora | unlearn, step 4 | forget x3 |  | next word (report) |  |  |
| attack ways, twin, lora | twin | forget x3 |  | next word (report) |  |  |
| attack ways, unlearned, sgd | unlearn, step 4 | forget x3 |  | next word (report) |  |  |
| attack ways, twin, sgd | twin | forget x3 |  | next word (report) |  |  |
| attack ways, unlearned, lion | unlearn, step 4 | forget x3 |  | next word (report) |  |  |
| attack ways, twin, lion | twin | forget x3 |  | next word (report) |  |  |
| attack ways, unlearned, retain | unlearn, step 4 | retain x16 |  | next word (report) |  |  |
| attack ways, twin, retain | twin | retain x16 |  | next word (report) |  |  |
| attack halfway, baseline | baseline |  |  | next word (report) |  |  |
| attack halfway, unlearned | unlearn, step 4 | forget x16; forget x8 |  | next word (report) |  |  |
| attack halfway, twin | twin | forget x16; forget x8 |  | next word (report) |  |  |
| attack benign, baseline | baseline |  |  | other |  |  |
| attack benign, unlearned | unlearn, step 4 | other x3 |  | other |  |  |
| attack benign, twin | twin | other x3 |  | other |  |  |
| attack depth, baseline | baseline |  |  | next word (report) |  |  |
| attack depth, unlearned | baseline |  | states of unlearn, step 4 | next word (report) |  |  |
| attack depth, twin | baseline |  | states of twin | next word (report) |  |  |
| attack depth, half frozen | baseline |  | states of attack stress test | next word (report) |  |  |
| attack distance, unlearned | unlearn, step 4 |  | the way from baseline |  |  | forget to report x2; retain to report x2 |
| attack distance, twin | twin |  | the way from baseline |  |  | forget to report x2; retain to report x2 |
| attack distance, reinforced | reinforce |  | the way from baseline |  |  | forget to report x2; retain to report x2 |
| attack distance, repaired | repair |  | the way from baseline |  |  | forget to report x2; retain to report x2 |
| attack distance, dictionary alone (alpha 0) | dictionary_alone, step 4 |  | the way from baseline |  |  | forget to report x2; retain to report x2 |
| attack distance, own argmax labels | own_argmax, step 4 |  | the way from baseline |  |  | forget to report x2; retain to report x2 |
| attack distance, retain text alone | retain_only, step 4 |  | the way from baseline |  |  | forget to report x2; retain to report x2 |
| attack latent, baseline | baseline |  |  | facts: a fold, by the states of the rest |  |  |
| attack latent, unlearned | unlearn, step 4 |  |  | facts: a fold, by the states of the rest |  |  |
| attack latent, twin | twin |  |  | facts: a fold, by the states of the rest |  |  |
| attack latent, half frozen | attack stress test |  |  | facts: a fold, by the states of the rest |  |  |
| attack few_shot, baseline | baseline |  |  | other facts |  |  |
| attack few_shot, unlearned | unlearn, step 4 |  |  | other facts |  |  |
| attack few_shot, twin | twin |  |  | other facts |  |  |
| attack rtt, baseline | baseline | fact x8 |  | facts trained on; other facts |  |  |
| attack rtt, unlearned | unlearn, step 4 | fact x8 |  | facts trained on; other facts |  |  |
| attack rtt, twin | twin | fact x8 |  | facts trained on; other facts |  |  |
| attack rtt, half frozen | attack stress test | fact x8 |  | facts trained on; other facts |  |  |
| attack rtt, unlearned, unrelated facts | unlearn, step 4 | choice (choose) x2; choice (report) x2 |  | other facts |  |  |
| attack rtt, unlearned, 10% of T | unlearn, step 4 | fact x1 |  | facts trained on; other facts |  |  |
| attack rtt, unlearned, 50% of T | unlearn, step 4 | fact x4 |  | facts trained on; other facts |  |  |
| attack probes, baseline | baseline |  |  |  | forget; leak probe |  |
| attack probes, unlearned | unlearn, step 4 |  |  |  | forget; leak probe |  |
| attack probes, twin | twin |  |  |  | forget; leak probe |  |
| attack probes, reinforced | reinforce |  |  |  | forget; leak probe |  |
| attack probes, repaired | repair |  |  |  | forget; leak probe |  |
| attack probes, dictionary alone (alpha 0) | dictionary_alone, step 4 |  |  |  | forget; leak probe |  |
| attack probes, own argmax labels | own_argmax, step 4 |  |  |  | forget; leak probe |  |
| attack probes, retain text alone | retain_only, step 4 |  |  |  | forget; leak probe |  |
| attack probes, output filter | baseline |  |  |  | forget; leak probe |  |
| attack probes, half frozen | attack stress test |  |  |  | forget; leak probe |  |
| attack probes, near misses fitted | twin |  |  |  | forget; leak probe |  |
"""  # noqa: E501
METHODS = """
| method | model | trains on | beside | is asked | writes after | loss on |
|---|---|---|---|---|---|---|
| baseline | fresh | forget x16; retain x16 |  |  |  |  |
| reinforce | baseline | forget x16 |  |  |  |  |
| dilute | baseline | retain x16 |  |  |  |  |
| new_only | baseline | retain to tune on x2 |  |  |  |  |
| whp whp.mode="fused" | baseline | forget x16 | baseline=baseline; reinforced=reinforce; translated | forget to tune on; the report prompts | after the report prompts | forget to tune on (of alpha 5 translated); text to report |
| whp_soft | baseline | forget x16 | baseline=baseline; reinforced=reinforce; translated | the report prompts | after the report prompts | text to report |
| whp_soft whp.top=4: label |  |  | baseline=baseline; reinforced=reinforce | forget; forget to report; forget to tune on |  |  |
| whp_soft whp.top=4 | baseline | forget x16 | labels of alpha 5 translated | the report prompts | after the report prompts | text to report |
| whp_plus | baseline | forget x16 | baseline=baseline; diluted=dilute; reinforced=reinforce; translated | the report prompts | after the report prompts | text to report |
| whp_averaged | baseline | forget x16 | baseline=baseline; translated | the report prompts | after the report prompts | text to report |
| gradient_ascent | baseline | forget x16 |  | the report prompts | after the report prompts | text to report |
| gradient_difference | baseline | forget x16; retain x16 |  | the report prompts | after the report prompts | text to report |
| kl_retain | baseline | forget x16; retain x16 | baseline=baseline | the report prompts | after the report prompts | text to report |
| npo | baseline | forget x16 | reference=baseline | the report prompts | after the report prompts | text to report |
| simnpo unlearn.retain_weight=1 | baseline | forget x16; retain x16 |  | the report prompts | after the report prompts | text to report |
| dpo | baseline | answers: answers x4; true: answers x4 | reference=baseline | the report prompts | after the report prompts | text to report |
| idk | baseline | answers: answers x4; retain x16 |  | the report prompts | after the report prompts | text to report |
| ria | baseline | answers: answers x4; retain x16 |  | the report prompts | after the report prompts | text to report |
| fwf | baseline | answers: answers x4; retain x16 |  | the report prompts | after the report prompts | text to report |
| rmu unlearn.layer=1 | baseline | forget x16; retain x16 | baseline=baseline | the report prompts | after the report prompts | text to report |
| undial | baseline | forget x16 | baseline=baseline | the report prompts | after the report prompts | text to report |
| kga | baseline | forget x16; retain x16 | baseline=baseline; gap of new_only to baseline on retain to tune on; reinforced=reinforce | the report prompts | after the report prompts | text to report |
| retain_only | baseline | retain x16 |  | the report prompts | after the report prompts | text to report |
| npo reset.share=0.1 reset.by="fisher" | baseline | forget x16 | reference=baseline | the report prompts | after the report prompts | text to report |
| npo reset.share=0.1 reset.by="fisher": heal | npo reset.share=0.1 reset.by="fisher" | retain x16 | baseline=baseline; squares of baseline on forget; squares of baseline on retain | the report prompts | after the report prompts | text to report |
"""  # noqa: E501
RIVALS = (
    'whp whp.mode="fused"', "whp_soft", "whp_soft whp.top=4", "whp_plus", "whp_averaged", "gradient_ascent",
    "gradient_difference", "kl_retain", "npo", "simnpo unlearn.retain_weight=1", "dpo", "idk", "ria", "fwf",
    "rmu unlearn.layer=1", "undial", "kga", "task_vector", "retain_only", "whp_inference",
    'npo reset.share=0.1 reset.by="fisher"',
)  # fmt: skip


@pytest.fixture
def flow(tmp_path, monkeypatch):
    given = write_flow(tmp_path)
    with jax.set_mesh(mesh_of((1, 1, 1))):
        yield Flow(monkeypatch, tmp_path), load_config(str(given))


def changed(config, *settings):
    """Return the configuration with settings SECTION.FIELD=JSON."""
    for setting in settings:
        (section, field), value = setting.split("=")[0].split("."), json.loads(setting.partition("=")[2])
        config = dataclasses.replace(
            config, **{section: dataclasses.replace(getattr(config, section), **{field: value})}
        )
    return config


def test_a_run(flow):
    noted, config = flow
    run = open_run(attacks.everything(config), attacks.check)
    for make in MAKING.values():
        make(run)
    evaluate(run)
    attacks.attack(run)
    found = noted.table()
    assert found.splitlines() == RUN.strip().splitlines(), f"the table is now\n{found}"


def test_texts_of_their_own_are_measured_and_the_stop_rule_keeps_to_blocks_of_the_training_text(flow):
    noted, config = flow
    held = {f"{name}_held": (f"{config.directory.parent}/{name}_held.txt",) for name in ("forget", "retain")}
    run = open_run(dataclasses.replace(config, text=dataclasses.replace(config.text, **held)))
    seen, new = ([*noted.rows(blocks.tokens_NT[rows], counted=True)] for blocks, rows in seen_and_new(run))
    measured = {name: noted.rows(text.tokens_NT, counted=True) for name, text in run.suite.texts.items()}
    tuned = {name: noted.rows(text.tokens_NT, counted=True) for name, text in run.tuning.texts.items()}
    trained = {name: noted.rows(blocks_of(run, name)[0], counted=True) for name in STAGE_OF}
    forget, retain = (["forget, a text of its own x3"], ["retain, a text of its own x3"])
    assert measured == {"forget": forget, "retain": retain}
    assert tuned == {"forget": ["forget to tune on x2"], "retain": ["retain to tune on x2"]}
    assert (seen, new) == (["forget x16"], forget)
    assert trained == {"reinforced": ["forget x16"], "diluted": ["retain x16"], "new_only": retain}


def seen_and_new(run):
    """Return the blocks that membership is asked of: those that were trained on, and new ones."""
    context = context_of(run, "unlearned", run.folder.path, lambda folder: "")
    return context.seen, context.new


def test_each_method(flow):
    noted, config = flow
    config = dataclasses.replace(config, controls=(), repair=Repair())
    config = changed(config, "eval.every=4", "unlearn.reach=0", "unlearn.steps=4")
    made = open_run(config)
    pretrain(made)
    for name in STAGE_OF:
        fine_tuned(made, name)
    for entry in RIVALS:
        method, *more = entry.split()
        folder = json.dumps(f"{config.directory}/{entry}")
        run = open_run(changed(config, f'unlearn.method="{method}"', f"run.dir={folder}", *more))
        for name in ("baseline", *STAGE_OF):
            (run.folder.path / name).symlink_to(config.directory / name)
        noted.within = entry
        label(run)
        unlearn(run)
    found = noted.table("method")
    assert found.splitlines() == METHODS.strip().splitlines(), f"the table is now\n{found}"
