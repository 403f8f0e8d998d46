"""What goes around any method's loss: which of it a configuration asks for, what is refused, what the card says.

Each stands in a file of its own, with faults(config, method, parts) -> sentences. SAM and ILU change the gradient,
folds the batch. The adversary, RepSelect, MUDMAN and CIR have a step of their own (stages/around.py), of which a run
has one. Embedding erasure comes before the first step.
"""

from jaxunlearn.config import Config
from jaxunlearn.methods import adversary, breaking, collapse, erase, invariance, layered, mudman, sam, select
from jaxunlearn.methods.base import Method
from jaxunlearn.models.transformer import Shape

PARTS = (adversary, sam, invariance, layered, select, mudman, collapse, erase)


def filters(config: Config) -> dict[str, str]:
    """Return {unlearn.NAME: how to switch it off} of the filters in use, which take plain steps of their own."""
    u = config.unlearn
    used = {
        "select": (u.select.budget, "budget"),
        "mudman": (u.mudman.every, "every"),
        "collapse": (u.collapse.norm, "norm"),
    }
    return {f"unlearn.{name}": f"unlearn.{name}.{key}=0" for name, (on, key) in used.items() if on}


def asks(config: Config) -> tuple[str, ...]:
    """Return the frozen models that they need beside the method's own."""
    return ("baseline",) if config.unlearn.select.budget else ()


def faults(config: Config, method: Method, parts: tuple[str, ...]) -> list[str]:
    """Return why what is put around the method's loss cannot run; parts: those of a batch that the method reads."""
    u, used = config.unlearn, filters(config)
    wrong = [fault for one in PARTS for fault in one.faults(config, method, parts)]
    steps = [*used, *(["unlearn.adversary"] if u.adversary.every else [])]
    if len(steps) > 1:
        wrong.append(f"{' and '.join(steps)} each have a step of their own: leave one")
    for name, off in used.items():
        if u.lora.rank:
            wrong.append(f"{name} filters the gradients of whole matrices: leave out unlearn.lora, or set {off}")
        if u.update == "layers":
            wrong.append(f"{name} needs whole gradients: leave out unlearn.update=layers, or set {off}")
        if method.updates:
            wrong.append(f"{name} moves the feed-forwards, {method.name} weights of its own choice; set {off}")
    if u.update == "layers" and u.invariance:
        wrong.append("unlearn.invariance needs whole gradients: leave out unlearn.update=layers")
    if u.collapse.norm and u.sam:
        wrong.append("unlearn.collapse takes the gradient where the weights are: leave out unlearn.sam")
    return wrong


def fits(config: Config, c: Shape) -> None:
    """Raise InputError for what the model or the mesh has no room for."""
    for one in (select, collapse, erase, breaking):
        one.fits(config, c)


def said(unlearn: dict) -> list[str]:
    """Return what the model card says of it, from the section `unlearn` of a run's config.json."""

    def of(name: str, key: str):
        return (unlearn.get(name) or {}).get(key)

    found = []
    if every := of("adversary", "every"):
        found.append(f"against an adversary forked every {every} steps")
    if rho := unlearn.get("sam"):
        found.append(f"with SAM at {rho:g}")
    if weight := unlearn.get("invariance"):
        found.append(f"with a penalty of {weight:g} on what scaling the weights changes (ILU, arXiv 2506.01339)")
    if (folds := unlearn.get("folds", 1)) > 1:
        found.append(f"{folds} folds one upon another (Layered Unlearning, arXiv 2505.09500)")
    if budget := of("select", "budget"):
        found.append(f"along the minor components of its gradient to a KL of {budget:g} (RepSelect, arXiv 2606.17168)")
    if every := of("mudman", "every"):
        found.append(f"by masked gradients at a fork of every {every} steps (MUDMAN, arXiv 2506.12484)")
    if strength := of("erase", "strength"):
        found.append(f"after an edit of the rows of its own tokens of strength {strength:g} (EMBER, arXiv 2606.03695)")
    if norm := of("collapse", "norm"):
        found.append(f"by collapsed gradients of norm {norm:g} (CIR, arXiv 2509.11816)")
    return found
