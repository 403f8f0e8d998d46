"""What chips send each other, read from a compiled program's text: collectives by kind, how often, how many bytes."""

import itertools
import re

KINDS = ("all-gather", "all-reduce", "reduce-scatter", "all-to-all", "collective-permute", "collective-broadcast")
_OPERATION = re.compile(rf"= (?P<type>.+?) (?P<kind>{'|'.join(KINDS)})(?P<start>-start)?\(")
_HEADER = re.compile(r"^(ENTRY )?%?([\w.\-]+) \(.*\{\s*$")
_CALLED = re.compile(
    r"\b(calls|body|condition|to_apply|branch_computations|called_computations)=(\{[^}]*\}|%?[\w.\-]+)"
)
_ARRAY = re.compile(r"\b(pred|[a-z]{1,4}\d+\w*)\[([\d,]*)\]")


def collectives(text: str) -> dict[str, dict[str, int]]:
    """Return {kind: {"count", "bytes", "overlapped"}} of one call of a compiled program (HLO text), on one chip.

    Loops count as often as they run, where that is a constant; a loop that ends when the data says so counts for its
    longest run, or once where it has no bound. Bytes are those of the whole array: what an all-gather puts out, what
    a reduce-scatter takes in. "overlapped" are those bytes that go while the chip computes: the compiler put work
    between the start and the end of their collective, or split it over fusions that compute.
    """
    computations, entry = _computations(text)
    found: dict[str, tuple[int, str, int, bool]] = {}  # the parts of one collective, split to overlap, share a channel
    for name, times in _times(computations, entry).items():
        for n, line in enumerate(computations[name]):
            if not (match := _OPERATION.search(line)):
                continue
            kind, size = _kind(match["kind"], name), _bytes(match, line)
            channel = re.search(r"channel_id=(\d+)", line)
            key = f"{match['kind']} {channel[1]}" if channel else f"{name} {n}"
            before = found.get(key, (0, kind, 0, False))
            beside = "async_collective_fusion" in name or _beside_work(match, computations[name][n:])
            found[key] = max(times, before[0]), kind, max(size, before[2]), beside or before[3]
    out: dict[str, dict[str, int]] = {}
    for times, kind, size, beside in found.values():
        entry_ = out.setdefault(kind, {"count": 0, "bytes": 0, "overlapped": 0})
        entry_["count"] += times
        entry_["bytes"] += times * size
        entry_["overlapped"] += times * size * beside
    return dict(sorted(out.items()))


def _beside_work(match: re.Match, lines: list[str]) -> bool:
    """Return whether work stands between a collective's start, the first of the lines, and its end."""
    if not match["start"]:
        return False
    name = re.escape(lines[0].split(" = ")[0].split()[-1])
    end = re.compile(rf"-done\(.*{name}(?![\w.-])")
    between = itertools.takewhile(lambda line: not end.search(line), lines[1:])
    return any(re.search(r" (fusion|custom-call|dot|convolution|while)\(", line) for line in between)


def _kind(kind: str, computation: str) -> str:
    """Name the TPU compiler's fusion of an all-reduce with the slice that is kept of it by what it does."""
    return "reduce-scatter" if kind == "all-reduce" and "all-reduce-scatter" in computation else kind


def _computations(text: str) -> tuple[dict[str, list[str]], str]:
    computations, entry, lines = {}, "", []
    for line in text.splitlines():
        if match := _HEADER.match(line):
            lines = computations[match[2]] = []
            entry = match[2] if match[1] else entry
        else:
            lines.append(line)
    return computations, entry


def _times(computations: dict[str, list[str]], entry: str) -> dict[str, int]:
    """Return how often each computation runs in one call of the entry."""
    times: dict[str, int] = {}

    def visit(name: str, runs: int):
        times[name] = times.get(name, 0) + runs
        for line in computations[name]:
            called = {key: re.findall(r"[\w.\-]+", value) for key, value in _CALLED.findall(line)}
            trips = _trips(line, computations.get(called.get("condition", [""])[0], [])) if "body" in called else 1
            for names in called.values():
                for callee in names:
                    if callee in computations:
                        visit(callee, runs * trips)

    visit(entry, 1)
    return times


def _trips(line: str, condition: list[str]) -> int:
    if match := re.search(r'known_trip_count\\?"?:?\s*\{\\?"n\\?":\\?"(\d+)', line):
        return int(match[1])
    bounds = [int(n) for text in condition for n in re.findall(r" [su]32\[\]\S* constant\((\d+)\)", text)]
    return max(bounds, default=1)


def _bytes(match: re.Match, line: str) -> int:
    arrays = [_array_bytes(*a) for a in _ARRAY.findall(match["type"])]
    if match["start"] and match["kind"] == "all-gather":
        arrays = arrays[len(arrays) // 2 :]  # operands, then results
    elif match["start"] and match["kind"] == "collective-permute":
        arrays = [max(arrays)]
    return sum(arrays) * (_group(line) if match["kind"] == "reduce-scatter" else 1)


def _array_bytes(dtype: str, shape: str) -> int:
    bits = 8 if dtype == "pred" else int(re.sub(r"^[a-z]+(\d+).*", r"\1", dtype))
    size = 1
    for n in filter(None, shape.split(",")):
        size *= int(n)
    return size * bits // 8


def _group(line: str) -> int:
    """Return how many chips one collective joins, from any of the three spellings of replica_groups."""
    if match := re.search(r"replica_groups=\{\{([\d,]+)\}", line):
        return match[1].count(",") + 1
    if match := re.search(r"replica_groups=\[(\d+),(\d+)\]<=", line):
        return int(match[2])
    if match := re.search(r"replica_groups=mesh\[([^\]]*)\] \{([^}]*)\}", line):
        sizes = dict(re.findall(r"('\w+')=(\d+)", match[1]))
        size = 1
        for axis in re.findall(r"'\w+'", match[2]):
            size *= int(sizes[axis])
        return size
    return 1
