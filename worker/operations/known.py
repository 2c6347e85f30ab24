"""The operations that there are, by the name that a job has for its own."""

from worker.operations.install import INSTALL
from worker.operations.operation import Operation
from worker.operations.update import UPDATE

OPERATIONS: dict[str, Operation] = {operation.name: operation for operation in (INSTALL, UPDATE)}
