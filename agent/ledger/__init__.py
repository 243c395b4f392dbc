"""What outlives one process: the memory, kept in ConfigMaps and Secrets of the agent's own namespace."""

from agent.ledger.keys import Installation, installation_key
from agent.ledger.ledger import Ledger, LedgerConflict, LedgerProblem

__all__ = ["Installation", "Ledger", "LedgerConflict", "LedgerProblem", "installation_key"]
