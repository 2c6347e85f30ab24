"""All classes of faults, in the order of the report."""

from tests.faults.classes import of_cyclr, of_failover, of_processes, of_servers, of_tickets
from tests.faults.classes.fault import Fault

CLASSES: tuple[type[Fault], ...] = (
    of_processes.WorkerProcessKilled,
    of_processes.CeleryMainKilled,
    of_processes.SweepKilled,
    of_processes.WorkerFrozen,
    of_processes.TwoSweeps,
    of_processes.LoaderStopped,
    of_servers.ValkeyRestarted,
    of_servers.ValkeyFlushed,
    of_servers.ValkeyHalfOpen,
    of_servers.PostgresRestarted,
    of_servers.ConnectionsCut,
    of_servers.CutAtCommit,
    of_failover.ReadOnly,
    of_failover.StandbyPromoted,
    of_servers.BehindAPooler,
    of_tickets.TicketsDropped,
    of_tickets.TicketsDoubled,
    of_cyclr.ThrottledForSeconds,
    of_cyclr.ThrottledUntilADate,
    of_cyclr.ThrottledWithoutATime,
    of_cyclr.ErrorBeforeTheEffect,
    of_cyclr.ErrorAfterTheEffect,
    of_cyclr.ResetAfterTheEffect,
    of_cyclr.BodyCut,
    of_cyclr.Silence,
    of_cyclr.LateEffect,
    of_cyclr.GatewayPage,
    of_cyclr.TokenRevoked,
    of_cyclr.NewRelease,
    of_cyclr.PagesThatShift,
    of_cyclr.CyclrAway,
)
# What takes some seconds at most.
QUICK: tuple[type[Fault], ...] = (
    of_processes.WorkerProcessKilled,
    of_processes.CeleryMainKilled,
    of_processes.SweepKilled,
    of_servers.ValkeyRestarted,
    of_servers.ValkeyFlushed,
    of_servers.ConnectionsCut,
    of_servers.CutAtCommit,
    of_failover.ReadOnly,
    of_tickets.TicketsDropped,
    of_cyclr.ThrottledForSeconds,
    of_cyclr.ErrorAfterTheEffect,
    of_cyclr.LateEffect,
    of_cyclr.TokenRevoked,
)
__all__ = ["CLASSES", "QUICK", "Fault"]
