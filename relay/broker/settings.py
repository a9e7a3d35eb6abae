"""Pass settings to the gate in gate.json: the process that starts the embedded broker writes this file in the broker's
folder, mode 0600."""

from __future__ import annotations

import json
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

from relay.broker.accounts import AccountRules, ListedAccounts
from relay.broker.process import write_private

GATE, SYSTEM = "gate", "gate-system"  # the gate's own accounts at nats-server
SERVING = "gate.done"  # the file in which the gate says which list of accounts it serves; there while it does


@dataclass
class Settings:
    """The settings in gate.json, from the process that starts the broker to the gate."""

    run: str  # if the file has another one, this gate's broker is gone
    seed: str
    password: str
    accounts: list[dict[str, Any]]
    generation: int = 0
    store: str | None = None
    json_log: bool = False
    max_file_store: int = 1 << 30
    barred: dict[str, float] = field(default_factory=dict)  # accounts, and until when by this machine's monotonic clock

    @staticmethod
    def read(folder: Path) -> Settings:
        return Settings(**json.loads((folder / "gate.json").read_text()))

    def write(self, folder: Path) -> None:
        write_private(folder / "gate.json", json.dumps(asdict(self)))

    def listed(self) -> ListedAccounts:
        tuples = ("publish", "subscribe", "ids")

        def rules(fields: dict[str, Any]) -> AccountRules:
            read: dict[str, Any] = {name: tuple(value) if name in tuples else value for name, value in fields.items()}
            read["verifier"] = bytes.fromhex(fields["verifier"])
            return AccountRules(**read)

        return ListedAccounts(map(rules, self.accounts))


def as_json(account: AccountRules) -> dict[str, Any]:
    """Return an account as it stands in gate.json."""
    return {**vars(account), "verifier": account.verifier.hex()}
