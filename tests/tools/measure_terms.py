"""Measure the extraction of terms against a list made by hand: precision at 150, recall of terms and of occurrences.

python tests/tools/measure_terms.py --reference FILE --forget PATHS... --retain PATHS... [--show N]

FILE holds {"terms": [{"variants": {variant: count, ...}}, ...]}, or lists of variants. Spellings are compared without
case, hyphens, spaces and stops.
- precision at n: of the first n terms, those of which a spelling is a variant of the reference;
- recall of terms: reference terms of which a variant is a spelling of a kept term;
- recall of occurrences: of the places where the matcher finds a reference variant (longest first), those whose words,
  connectors aside, all lie inside anchors of the kept terms.
A looser precision also counts terms that hold a reference term as whole words ("Aunt Em" where it lists "Em").
"""

import argparse
import json
import time
from pathlib import Path

import numpy as np

from jaxunlearn.anchors.building.extract import Term, extract_terms, key_of
from jaxunlearn.anchors.matching import find_anchors, make_matcher
from jaxunlearn.anchors.words import FUNCTION, WORD
from jaxunlearn.data.documents import read_documents


def main() -> None:
    given = arguments()
    groups = json.loads(Path(given.reference).read_text(encoding="utf-8"))["terms"]
    reference = [list(group["variants"] if isinstance(group, dict) else group) for group in groups]
    target, retain = read_documents(given.forget), read_documents(given.retain)
    begun = time.process_time()
    terms = extract_terms(target, retain)
    seconds = time.process_time() - begun
    known = {key_of(variant) for variants in reference for variant in variants}
    print(f"{len(terms)} terms kept in {seconds:.1f} s of one core; {len(reference)} in the reference")
    for n in (50, 150, 300, len(terms)):
        top = terms[:n]
        strict, loose = np.mean([matches(t, known) for t in top]), np.mean([matches(t, known, True) for t in top])
        print(f"precision at {n}: {strict:.3f}, loose {loose:.3f}")
    kept = {key_of(variant) for term in terms for variant in term.variants}
    found = [any(key_of(variant) in kept for variant in variants) for variants in reference]
    print(f"recall of terms: {np.mean(found):.3f}")
    covered, total, missed = cover(target, reference, terms)
    print(f"recall of occurrences: {covered / total:.3f} of {total}")
    if given.show:
        print("not in the reference:", [t.text for t in terms[:150] if not matches(t, known)][: given.show])
        print("terms missed:", [v[0] for v, f in zip(reference, found, strict=True) if not f][: given.show])
        print("occurrences missed:", sorted(missed.items(), key=lambda pair: -pair[1])[: given.show])


def arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--reference", required=True)
    parser.add_argument("--forget", nargs="+", required=True)
    parser.add_argument("--retain", nargs="*", default=[])
    parser.add_argument("--show", type=int, default=0, help="list so many of the differences")
    return parser.parse_args()


def matches(term: Term, known: set[str], loose: bool = False) -> bool:
    """Tell whether a term's spelling is a variant of the reference, or (loose) holds one as whole words."""
    if any(key_of(variant) in known for variant in term.variants):
        return True
    words = term.text.split(" ")
    parts = [" ".join(words[a:b]) for a in range(len(words)) for b in range(a + 1, len(words) + 1)]
    return loose and any(key_of(part) in known for part in parts)


def cover(target, reference, terms) -> tuple[int, int, dict[str, int]]:
    """Count the reference's occurrences that the kept terms' anchors cover, all of them, and the missed by spelling."""
    variants = list(dict.fromkeys(variant for names in reference for variant in names))
    matcher, mine = make_matcher(variants), make_matcher([v for term in terms for v in term.variants])
    covered, total, missed = 0, 0, {}
    for document in target:
        text = " ".join(document.text.split())
        inside = np.zeros(len(text) + 1, bool)
        for _, start, end in find_anchors(text, mine).tolist():
            inside[start:end] = True
        for key, start, end in find_anchors(text, matcher).tolist():
            words = [word for word in WORD.finditer(text, start, end) if word.group().lower() not in FUNCTION]
            whole = all(inside[word.start() : word.end()].all() for word in words)
            total, covered = total + 1, covered + whole
            if not whole:
                name = variants[key]
                missed[name] = missed.get(name, 0) + 1
    return covered, total, missed


if __name__ == "__main__":
    main()
