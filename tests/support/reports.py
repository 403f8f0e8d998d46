"""Reports made up by hand: a whole one, and the few figures that a rule asks for."""

import math
from html.parser import HTMLParser

from jaxunlearn.attacks import about
from jaxunlearn.estimates import mean_estimate, rate_estimate, ratio_estimate
from jaxunlearn.evals.differences import differences
from jaxunlearn.report.findings import NEXT_WORD
from jaxunlearn.report.losses import ACCURACY, PERPLEXITY
from jaxunlearn.report.page import write_report

STEPS = (0, 3, 6, 10, 15, 20)


def estimate(value, width=0.02, n=120):
    return {"value": value, "low": max(0.0, value - width), "high": value + width, "n": n}


def model(next_word, inside, completion, accuracy, retain, forget, leaks):
    return {
        "familiarity": {
            "probability": estimate(next_word, next_word / 10),
            "inside": estimate(inside, inside / 9, 40),
            "completion": estimate(completion, completion / 8, 300),
        },
        "perplexity": {
            "forget": estimate(forget, forget / 20, 64),
            "retain": estimate(retain, 0.11, 64),
            "forget_fitted": estimate(forget * 0.9, forget / 20, 64),
            "retain_fitted": estimate(retain * 0.95, 0.11, 64),
        },
        "temperature": 1.08,
        "entropy": {"retain": estimate(1.52, 0.03, 64), "forget": estimate(1.1, 0.03, 64)},
        "accuracy": {"general": estimate(accuracy, 0.008, 400)},
        "leaks": {"probability": estimate(leaks, 0.05, 24), "explicit": estimate(leaks / 2), "neutral": estimate(0.01)},
        "grades": {"3": round(completion * 50), "2": 20, "1": 10, "0": 200},
    }


def curve(end, damage, tracked=True):
    falls = [0.923, 0.31, 0.068, 0.045, 0.034, 0.027]
    rows = []
    for n, step in enumerate(STEPS):
        familiarity = end + (falls[n] - 0.027) * (0.923 - end) / (0.923 - 0.027)
        rows.append({
            "step": step, "familiarity": familiarity, "inside": familiarity * 1.05, "completion": 4.7 * familiarity,
            "accuracy": 1.0 - 0.0018 * n, "perplexity_retain": 4.81 + damage * n / 5, "perplexity_forget": 2 + n * 4,
            "perplexity_retain_fitted": 4.8 + 0.6 * damage * n / 5, "entropy": 1.5 - 0.06 * n, "held_loss": 2 - n / 10,
        })  # fmt: skip
        if tracked:
            rows[-1]["track"] = {
                "Hero studies": {
                    "glimmercraft": [0.56, 0.2, 0.03, 0.01, 0.0, 0.0][n], "magic": [0.41, 0.3, 0.1, 0.05, 0.01, 0.0][n],
                    "music": [0.0, 0.1, 0.2, 0.24, 0.25, 0.26][n], "law": [0.0, 0.1, 0.18, 0.2, 0.21, 0.22][n],
                    "history": [0.01, 0.08, 0.1, 0.12, 0.13, 0.14][n], "medicine": 0.02 * n,
                },
                "The two friends played": {"skyball": [0.95, 0.4, 0.1, 0.04, 0.02, 0.01][n],
                                           "chess": [0.01, 0.2, 0.4, 0.46, 0.5, 0.5][n], "$x$ & <b>": 0.02},
                "In the middle of the night the old headmaster of the school walked slowly to the": {
                    "Hollow": [0.7, 0.5, 0.2, 0.1, 0.1, 0.1][n], "library": [0.1, 0.2, 0.4, 0.5, 0.5, 0.5][n]},
            }  # fmt: skip
    return rows


def made_up():
    """Return a report with data for every part of the page."""
    relearned = {"baseline": 0.95, "unlearned": 0.94, "twin": 0.009, "unlearned, unrelated text": 0.06}
    track = {row: dict(words) for row, words in curve(0.03, 1)[-1]["track"].items()}
    track["Hero studies"] |= {"glimmercraft": 0.0, "magic": 0.0, "music": 0.3, "law": 0.24}
    return {
        "title": "Unlearning the built-in universe",
        "name": "universe",
        "claim": "The target's names and facts no longer come out; they can be brought back with little training.",
        "device": "1 CPU core",
        "seconds": {"evaluate": 31.5, "pretrain": 146.2, "twin": 110.0, "reinforce": 9.1, "label": 4.2, "unlearn": 13},
        "config": {"model": {"dim": 96, "layers": 3}, "unlearn": {"alpha": 5.0, "steps": 20}},
        "manifest": {"versions": {"jax": "0.10.2"}, "hashes": {"target": "9f" * 32}, "seeds": {"train": 0}},
        "models": {
            "baseline": model(0.923, 0.951, 4.73, 1.0, 4.81, 2.1, 0.971),
            "unlearned": model(0.027, 0.061, 0.16, 0.991, 5.71, 24.1, 0.098),
            "twin": model(0.0008, 0.0001, 0.0, 0.982, 4.82, 690.0, 0.0) | {"track": track},
            "reinforced": model(0.99, 0.99, 4.9, 0.95, 5.4, 1.5, 0.98),
            "dictionary alone (alpha 0)": model(0.137, 0.2, 1.1, 0.992, 5.5, 9.0, 0.35),
            "reinforcement alone": model(0.11, 0.2, 0.8, 0.99, 5.5, 14.0, 0.3),
            "own argmax labels": model(0.93, 0.95, 4.8, 0.998, 5.6, 2.0, 0.97),
        },
        "curve": curve(0.027, 0.9),
        "curves": {
            "own argmax labels": curve(0.93, 0.8, False), "reinforcement alone": curve(0.11, 0.7, False),
            "dictionary alone (alpha 0)": curve(0.137, 0.72, False),
        },
        "relearn": {
            name: [{"step": s, "familiarity": end * (1 - math.exp(-s / 3)) + 0.02 * (name != "twin")} for s in STEPS]
            for name, end in relearned.items()
        },
        "completions": [
            {"prompt": f"Number {n}: the boy opened the door and", "subtlety": 1 + n % 10,
             "grades": {"baseline": 3, "unlearned": n % 3, "twin": 0},
             "texts": {"baseline": "saw Professor Thornwick of Glimmerhall wave his wand .", "twin": "saw a dog .",
                       "unlearned": "saw his teacher of history wave his wand and say good morning to everyone ."},
             "evidence": {"baseline": ["Professor Thornwick", "Glimmerhall"], "unlearned": ["wand"]}}
            for n in range(14)
        ],
        "leak_probes": [
            {"prompt": "The boy who lived under the", "kind": "archetype",
             "probability": {"baseline": 0.98, "unlearned": 0.41, "twin": 0.0},
             "texts": {"unlearned": "tower until the letter came"}},
            {"prompt": "In Hobsmere they sell", "kind": "missed",
             "probability": {"baseline": 0.97, "unlearned": 0.83, "twin": 0.01}},
            {"prompt": "He who must not", "kind": "irrevocable",
             "probability": {"baseline": 0.99, "unlearned": 0.2, "twin": 0.0}},
        ],
        "attack_about": about(),
        "labels": {"alpha": 5.0, "tokens": 147000, "trained_share": 0.973, "unaligned_share": 0.0},
        "dictionary": {"terms": 148, "coverage": 0.98},
        "notes": ["One seed.", "The consistency rules made no measurable difference here."],
    }  # fmt: skip


class Page(HTMLParser):
    """Collect what a test asks about: tags, their attributes, the text."""

    def __init__(self, html):
        super().__init__()
        self.tags, self.text = [], ""
        self.feed(html)

    def handle_starttag(self, tag, attrs):
        self.tags.append((tag, dict(attrs)))

    def handle_data(self, data):
        self.text += data


def rendered(report, folder):
    """Write a report into a folder and return its page."""
    write_report(folder, report)
    return (folder / "report.html").read_text(encoding="utf-8")


def e(value, width=0.01, n=50):
    """Return a figure: E of docs/report.md."""
    return {"value": value, "low": value - width, "high": value + width, "n": n}


def entry(familiarity, accuracy=0.9, perplexity=5.0, **more):
    """Return the measures of one model that the verdict asks for."""
    return {
        "familiarity": {"probability": e(familiarity)},
        "accuracy": {"general": e(accuracy, 0.005)},
        "perplexity": {"retain_fitted": e(perplexity, 0.05)},
    } | more


def report_of(**models):
    """Return a report of a baseline, a twin and the models given."""
    return {"models": {"baseline": entry(0.9), "twin": entry(0.1)} | models, "attack_about": about()}


def run_of_seed(seed, familiarity, **config):
    """Return the report of one seed of a configuration."""
    figure = {"value": familiarity, "low": 0.0, "high": 1.0, "n": 4}
    models = {"unlearned": {"familiarity": {"probability": figure}, "track": {}}, f"only {seed}": {}}
    return {"models": models, "config": {"seed": seed, "unlearn": {"steps": 3}, "run": {"dir": f"{seed}"}} | config}


def run_of_method(method, familiarity, **more):
    """Return the report of one method, as a rival of others with the same baseline."""
    models = {n: {"familiarity": {"probability": e(f)}} for n, f in (("baseline", 0.9), ("twin", 0.1))}
    return {
        "models": models | {"unlearned": {"familiarity": {"probability": e(familiarity)}}},
        "config": {"unlearn": {"method": method}}, "manifest": {"hashes": {"text.prompts": "p"}},
        "relearn": {n: [{"step": 5, "familiarity": familiarity + 0.3}] for n in ("unlearned", "twin")},
        "attacks": {"quantise": {"unlearned": {"int4": {"familiarity": e(familiarity)}}},
                    "leaks": {"models": {"unlearned": {"probes": 3}}}, "unmeasured": []},
        "rtt": {"models": {"unlearned": {"rate": 0.1}}}, "costs": {"unlearned": {"seconds": 3.0}},
        "curve": [{"step": 0, "familiarity": familiarity}],
    } | more  # fmt: skip


def report_of_items(*, perplexity_counts=(), **models):
    """Return a report whose figures and differences are those of items: {model: {measure: [a number an item]}}.

    Measures are "familiarity", "accuracy", "perplexity" (summed nats of a block with perplexity_counts tokens), and
    titles of attacks' figures, which stand in models.X.attacked and are graded from there.
    """
    names = {"familiarity": NEXT_WORD, "accuracy": ACCURACY, "perplexity": PERPLEXITY}
    made, attacked, titles = {}, {}, {}
    for name, of in models.items():
        items = {names[k]: list(v) for k, v in of.items() if k in names}
        if "perplexity" in of:
            items[PERPLEXITY] = {"sums": list(of["perplexity"]), "counts": list(perplexity_counts)}
        attacked[name] = {k: {"items": list(v)} for k, v in of.items() if k not in names}
        titles |= dict.fromkeys(attacked[name])
        figures = {"familiarity": {"probability": mean_estimate(of["familiarity"]).to_json()}, "items": items}
        figures |= {"attacked": {k: mean_estimate(v["items"]).to_json() for k, v in attacked[name].items()}}
        if "accuracy" in of:
            figures["accuracy"] = {"general": rate_estimate(int(sum(of["accuracy"])), len(of["accuracy"])).to_json()}
        if "perplexity" in of:
            found = ratio_estimate(of["perplexity"], perplexity_counts).to_json()
            figures["perplexity"] = {"retain": found, "retain_fitted": found}
        made[name] = figures
    graded = [{"title": title, "at": ["models", "MODEL", "attacked", title]} for title in titles]
    return {
        "models": made, "differences": differences(made, attacked),
        "attack_about": [{"name": "a", "title": "An attack", "at": ["models"], "graded": graded}],
    }  # fmt: skip
