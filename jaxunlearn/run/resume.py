"""What may change between two calls on one run directory, and the refusal of everything else."""

from jaxunlearn.errors import InputError

# may change between two calls on one run directory
FREE = ("title", "controls", "eval", "attack", "judge", "sweep", "run", "mesh", "anchors")
FREE_TRAIN = ("checkpoint_every", "log_every")
LATE = {  # may change until one of these exists
    "reinforce": ("reinforced", "checkpoints/reinforce"),
    "whp": ("labels", "unlearned", "checkpoints/unlearn", "controls"),
    "unlearn": ("unlearned", "unlearned_before_reset", "checkpoints/unlearn", "controls"),
    "reset": ("unlearned", "checkpoints/heal", "controls"),
    "repair": ("repaired", "checkpoints/repair"),
}


def completed(before: dict, default: dict) -> dict:
    """Return a configuration with the fields that an older version did not know, as they have no effect by default."""
    known = {
        key: completed(before[key], value) if isinstance(value, dict) and key in before else before.get(key, value)
        for key, value in default.items()
    }
    return before | known


def refuse_another_configuration(before: dict, now: dict, run) -> None:
    """Refuse a configuration that differs in what the run directory's results depend on."""
    changed = []
    for key in sorted(set(before) | set(now)):
        a, b = before.get(key), now.get(key)
        if key in FREE or (key in LATE and not any(run.made(name) for name in LATE[key])):
            continue
        if isinstance(a, dict) and isinstance(b, dict):
            keys = sorted(set(a) | set(b))
            changed += [
                f"{key}.{k}: {a.get(k)!r} -> {b.get(k)!r}" for k in keys if k not in FREE_TRAIN and a.get(k) != b.get(k)
            ]
        elif a != b:
            changed.append(f"{key}: {a!r} -> {b!r}")
    if changed:
        raise InputError(
            f"{run.path} holds a run with another configuration; give another run.dir, or delete it. Changed:\n  "
            + "\n  ".join(changed)
        )
