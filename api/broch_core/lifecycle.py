"""Life cycles as transition tables: one table drives code, buttons, diagrams, documents and tests (design, rule 2)."""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum
from typing import Generic, TypeVar

from broch_core.errors import Conflict

S = TypeVar("S", bound=StrEnum)
E = TypeVar("E", bound=StrEnum)


@dataclass(frozen=True)
class Lifecycle(Generic[S, E]):
    """The states of one kind of thing and the events that move it."""

    noun: str
    start: S
    table: tuple[tuple[S, E, S], ...]

    def __post_init__(self) -> None:
        keys = [(state, event) for state, event, _ in self.table]
        if len(keys) != len(set(keys)):
            raise ValueError(f"the table of {self.noun} has two answers for one question")

    def after(self, state: S, event: E) -> S:
        """Return the state that `event` leads to.

        Raises:
            Conflict: the event does not fit the state.
        """
        for source, name, target in self.table:
            if source == state and name == event:
                return target
        possible = ", ".join(sorted(e.value for e in self.events(state))) or "nothing more"
        raise Conflict(
            f"The {self.noun} is {state.value.replace('_', ' ')}: '{event.value}' is not possible now.",
            remedy=f"Possible now: {possible}.",
            state=state.value,
        )

    def events(self, state: S) -> frozenset[E]:
        """Return what can happen next."""
        return frozenset(event for source, event, _ in self.table if source == state)

    def states(self) -> tuple[S, ...]:
        """Return every state in the order of the table."""
        seen = dict.fromkeys((self.start,))
        for source, _, target in self.table:
            seen.setdefault(source)
            seen.setdefault(target)
        return tuple(seen)

    def final(self) -> frozenset[S]:
        """Return the states that nothing leaves."""
        return frozenset(s for s in self.states() if not self.events(s))

    def mermaid(self) -> str:
        """Draw the table as a Mermaid state diagram."""
        lines = ["stateDiagram-v2", f"    [*] --> {self.start.value}"]
        lines += [
            f"    {source.value} --> {target.value}: {event.value}" for source, event, target in self.table
        ]
        lines += [f"    {state.value} --> [*]" for state in self.states() if state in self.final()]
        return "\n".join(lines) + "\n"
