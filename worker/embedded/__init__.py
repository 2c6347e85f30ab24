"""The embedded mode's processes: a home folder with one owner, and the Valkey and the workers that the owner runs."""

from worker.embedded.home import Home, HomeUnusable, LeftoverAlive
from worker.embedded.processes import Child, Interrupts, Runtime, ServiceNotStarted, interrupts, start_child
from worker.embedded.services import Restart, Services, Valkey, WorkerPlan, find_valkey_binary

__all__ = [
    "Child",
    "Home",
    "HomeUnusable",
    "Interrupts",
    "LeftoverAlive",
    "Restart",
    "Runtime",
    "ServiceNotStarted",
    "Services",
    "Valkey",
    "WorkerPlan",
    "find_valkey_binary",
    "interrupts",
    "start_child",
]
