"""Titles for people of the keys that stand in a report, and their order: no table shows a raw key."""

from collections.abc import Iterable

TITLES = {  # key: title at the start of a sentence
    "int8": "8-bit integers", "int4": "4-bit integers", "nf4": "4-bit NormalFloat (nf4)",
    "rates": "All completions", "explicit": "Names the target", "near": "Nearly names it",
    "by_kind": "By kind of probe", "by_source": "By source of the probes", "by_temperature": "By temperature",
    "archetype": "Archetypes", "missed": "Terms that the dictionary missed", "irrevocable": "Set phrases",
    "blind": "Written without knowing the target", "hand": "Written by hand",
    "leak_at": "Named at least once in so many samples", "near_miss": "Near misses",
    "calibrated_on": "Thresholds set on", "false_positives": "False alarms", "thresholds": "Thresholds",
    "long": "Of long names", "short": "Of short names", "samples": "Samples a probe and temperature",
    "split": "Split of the prompts", "temperatures": "Temperatures", "rtt": "RTT", "muse": "MUSE", "tofu": "TOFU",
    "familiarity": "Familiarity, next word", "accuracy": "Accuracy", "leaks": "Leak probes, probability",
    "perplexity": "Perplexity, retain text", "before": "Accuracy before", "trained": "Accuracy on the facts retrained",
    "floor": "Best of as many guesses", "recovery": "Recovery", "above_guessing": "Above guessing",
    "chance": "Guessing", "asked": "Facts asked", "facts": "Facts", "curves": "By learning rate and epoch",
    "epoch": "Best epoch", "rate": "Best learning rate", "tries": "Tries", "pairings": "Pairings", "layers": "By layer",
    "scoring": "Scored by", "alone": "The prompt alone", "prefix": "A prefix", "role": "A role",
    "alpha": "Alpha", "tokens": "Tokens of the target text", "trained_share": "Share of them with a label",
    "changed_share": "Share of labels that differ from the text",
    "named_share": "Share of labels before a term that name it", "unaligned_share": "Share that could not be aligned",
    "terms": "Terms", "anchors": "Uses of them in the target text", "n": "Items",
    "devices": "Devices", "host.cores": "Cores", "host.machine": "Machine", "host.system": "System",
    "processes": "Processes", "text.answers": "Answers", "text.dictionary": "Dictionary",
    "text.forget": "Text to forget", "text.forget_held": "Text to forget, held out", "text.prompts": "Prompts",
    "text.retain": "Retain text", "text.retain_held": "Retain text, held out", "min_k": "Min-K%",
    "min_k++": "Min-K%++", "gradient_norm": "Gradient norm",
}  # fmt: skip
PROPER = ("MUSE", "RTT", "TOFU", "Min-K", "8-", "4-")  # titles that keep their capital inside a sentence
WITHIN = {"leak_at": "leak@{}", "by_temperature": "temperature {}", "layers": "Layer {}", "curves": "Rate {}"}
RANK = {"int8": 0, "int4": 1, "nf4": 2, "rates": -1, "explicit": 0, "near": 1, "alone": -1, "before": -1}


def title_of(key: str, inside: bool = False, within: Iterable[str] = ()) -> str:
    """Return the title of a key; `inside` a caption without its capital; `within` the keys above it in the report."""
    for above in within:
        if above in WITHIN:
            return WITHIN[above].format(key)
    title = TITLES.get(key)
    if title is None:
        words = key.replace("_", " ").strip()
        return words if inside else words[:1].upper() + words[1:]
    return title[0].lower() + title[1:] if inside and not title.startswith(PROPER) else title


def in_order(paths: Iterable[tuple[str, ...]]) -> list[tuple[str, ...]]:
    """Return paths of keys in the order of a table: numbers by their size, known keys by rank, the others as given.

    Short paths come first, so that what stands for all comes before its parts.
    """
    paths = list(paths)
    seen = {path[: n + 1]: place for place, path in reversed(list(enumerate(paths))) for n in range(len(path))}
    order = {path: [(_rank(key), seen[path[: n + 1]]) for n, key in enumerate(path)] for path in paths}
    return sorted(paths, key=lambda path: (len(path) > 1, order[path]))


def _rank(key: str) -> float:
    try:
        return float(key)
    except ValueError:
        return RANK.get(key, 0)
