"""Where a model's classes and a project's labels meet."""

from __future__ import annotations

from collections.abc import Callable, Sequence

from pool.schema import Label, NoLabelMap

_SHOWN = 20  # class names listed in a message: COCO's 80 would bury the sentence


def match_classes(classes: Sequence[str], labels: Sequence[Label]) -> dict[str, str]:
    """Model class name -> project label, in the order of ``classes``.

    Each label takes its classes by the first of these rules that gives it any: its
    ``predicted_values``; its ``category`` as a class index; its exact name; its name without regard
    to case, spaces, hyphens and underscores. Several classes may mean one label
    (``predicted_values="car,truck"``). Classes that no label wants are left out: a model may know
    far more than the project asks for.

    Raises:
        NoLabelMap: a label gets no class, two labels want the same class by the same rule, or a
            loose name fits several classes.
    """
    found, missing = match_some(classes, labels)
    if missing:
        raise NoLabelMap(_unmapped(classes, labels, missing, found))
    return found


def match_some(classes: Sequence[str], labels: Sequence[Label]) -> tuple[dict[str, str], list[Label]]:
    """As `match_classes`, with the labels that no class stands for beside what was found."""
    taken: dict[str, str] = {}
    open_labels = list(labels)
    for rule in (_by_predicted_values, _by_category, _by_name, _by_loose_name):
        claims = {label.value: _free(rule(classes, label), taken) for label in open_labels}
        if rule is _by_loose_name:
            _refuse_guesses(claims)
        _refuse_ties(claims)
        taken.update({name: value for value, names in claims.items() for name in names})
        open_labels = [label for label in open_labels if not claims[label.value]]
    return {name: taken[name] for name in classes if name in taken}, open_labels


Rule = Callable[[Sequence[str], Label], list[str]]


def _by_predicted_values(classes: Sequence[str], label: Label) -> list[str]:
    return [name for name in classes if name in label.predicted_values]


def _by_category(classes: Sequence[str], label: Label) -> list[str]:
    index = label.category
    return [classes[index]] if index is not None and 0 <= index < len(classes) else []


def _by_name(classes: Sequence[str], label: Label) -> list[str]:
    return [label.value] if label.value in classes else []


def _by_loose_name(classes: Sequence[str], label: Label) -> list[str]:
    return [name for name in classes if _loose(name) == _loose(label.value)]


def _loose(name: str) -> str:
    return "".join(c for c in name.casefold() if not c.isspace() and c not in "_-")


def _free(names: Sequence[str], taken: dict[str, str]) -> list[str]:
    return [name for name in dict.fromkeys(names) if name not in taken]


def _refuse_guesses(claims: dict[str, list[str]]) -> None:
    for value, names in claims.items():
        if len(names) > 1:
            raise NoLabelMap(
                f"Label {value!r} fits several model classes ({_list(names)}): say which with "
                f'<Label value="{value}" predicted_values="{names[0]}"/> in the labeling config.'
            )


def _refuse_ties(claims: dict[str, list[str]]) -> None:
    owner: dict[str, str] = {}
    for value, names in claims.items():
        for name in names:
            if name in owner:
                raise NoLabelMap(
                    f"Model class {name!r} is wanted by two labels, {owner[name]!r} and {value!r}: leave "
                    "it in the predicted_values (or category) of one of them in the labeling config."
                )
            owner[name] = value


def _unmapped(
    classes: Sequence[str], labels: Sequence[Label], missing: Sequence[Label], taken: dict[str, str]
) -> str:
    free = [name for name in classes if name not in taken]
    example = free[0] if free else "class name"
    first = missing[0].value
    return (
        f"No model class stands for {_list([label.value for label in missing])}.\n"
        f"  project labels: {_list([label.value for label in labels])}\n"
        f"  model classes:  {_list(list(classes))}\n"
        "Do one of these:\n"
        f'  1. in the labeling config, say which class it is: <Label value="{first}" '
        f'predicted_values="{example}"/>\n'
        f'  2. or give its class index: <Label value="{first}" category="0"/>\n'
        "  3. or use weights that know these labels, or start with a fresh head for them: --cold-start"
    )


def _list(names: Sequence[str]) -> str:
    shown = ", ".join(repr(name) for name in names[:_SHOWN])
    return shown if len(names) <= _SHOWN else f"{shown} and {len(names) - _SHOWN} more"
