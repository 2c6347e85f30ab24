"""What every class of faults is: made anew for each run, with a seed of its own."""

import random
from abc import ABC, abstractmethod

from tests.faults.deployment import Deployment


class Fault(ABC):
    """`name`: in the report. `is_brief`: it shares its run with others, so it lets them have some of the time."""

    name: str

    def __init__(self, deployment: Deployment, rng: random.Random, *, is_brief: bool) -> None:
        self.at = deployment
        self.rng = rng
        self.is_brief = is_brief

    @abstractmethod
    def strike(self) -> None:
        """The fault, and its end, while the job runs."""

    @abstractmethod
    def took_place(self) -> bool:
        """Asked once the job is over: whether the fault really befell it."""
