"""SDK → gateway → Kafka → books, while everything on the way is killed: every recorded unit is counted exactly once."""

import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from random import Random, SystemRandom
from time import monotonic, sleep

import pytest

from tests.integration.client_program import Ledger
from tests.integration.cutting_proxy import CuttingProxy
from tests.integration.gateway_stage import GatewayStage, gateway_stage

pytestmark = [pytest.mark.integration, pytest.mark.timeout(500)]

PROGRAM = Path(__file__).with_name("client_program.py")
CLIENTS = 4
CUTS = 10
FAULTS = 7
CUT_SHARE = 0.25
#: Lines of the SDK that run from the first record until the first reports are confirmed, and some more.
LINES = 1_600
KILLS = 24


@pytest.fixture(scope="module")
def stage(tmp_path_factory: pytest.TempPathFactory) -> Iterator[GatewayStage]:
    with gateway_stage(tmp_path_factory.mktemp("delivery")) as running:
        yield running


class Application:
    """A device: its program is started again and again on the same spool and ledger."""

    def __init__(self, folder: Path, name: str, url: str, key: str) -> None:
        folder.mkdir(exist_ok=True)
        self.ledger_path = folder / f"{name}.ledger"
        self.ledger = Ledger(self.ledger_path)
        self.log = folder / f"{name}.log"
        self._stop = folder / f"{name}.stop"
        self._arguments = [url, key, str(folder / f"{name}.spool"), str(self.ledger_path), str(self._stop)]
        self.process: subprocess.Popen[bytes] | None = None
        self.kills = 0

    def start(self, kill_at_line: int | None = None) -> None:
        extra = [] if kill_at_line is None else [str(kill_at_line)]
        with self.log.open("ab") as log:
            command = [sys.executable, str(PROGRAM), *self._arguments, *extra]
            self.process = subprocess.Popen(command, stdout=log, stderr=log)

    def end(self) -> None:
        """Let it record no more, and deliver the rest."""
        self._stop.touch()

    @property
    def finished(self) -> bool:
        return self.process is not None and self.process.poll() == 0

    def kill(self) -> None:
        assert self.process is not None
        if self.process.poll() is None:
            os.kill(self.process.pid, signal.SIGKILL)
        self.kills += self.process.wait() == -signal.SIGKILL

    def finish(self) -> None:
        assert self.process is not None
        code = self.process.wait(200)
        assert code == 0, self.log.read_text()[-3_000:]

    @property
    def client_uuid(self) -> str:
        line = next(line for line in reversed(self.log.read_text().splitlines()) if line.startswith("done"))
        return line.split()[1]


def assert_each_unit_once(stage: GatewayStage, applications: list[Application]) -> None:
    """Compare ledgers and books. What was about to be recorded at a kill may be recorded or not: nobody was told."""
    devices = {application.client_uuid: application for application in applications}
    names = ", ".join(f"'{name}'" for name in devices)
    outcomes = f"SELECT client_uuid, outcome, count() FROM usage_attributed WHERE client_uuid IN ({names}) GROUP BY ALL"
    units = (
        f"SELECT client_uuid, toInt64(sum(quantity)) FROM usage_attributed WHERE client_uuid IN ({names}) "
        "AND outcome != 'duplicate' GROUP BY ALL"
    )

    def arrived() -> bool:
        stage.stack.check()
        found = dict(stage.query(units))
        return all(found.get(name, 0) >= device.ledger.done for name, device in devices.items())

    stage.until(arrived, "all recorded units are in the books", seconds=120)
    settled: list[object] = []

    def nothing_comes() -> bool:
        """Two looks a second apart show the same: repeats that are still on their way would change the outcomes."""
        sleep(1)
        now = sorted(stage.query(outcomes))
        same = settled == now
        settled[:] = now
        return same

    stage.until(nothing_comes, "nothing more comes", seconds=30)
    found = dict(stage.query(units))
    for name, device in devices.items():
        print(name, device.ledger.begun, device.ledger.done, found[name], device.kills)
        assert device.ledger.done <= found[name] <= device.ledger.begun
        assert device.ledger.begun - device.ledger.done <= device.kills
    rejected = stage.query("SELECT reason, count() FROM usage_rejected GROUP BY ALL")
    assert rejected == []


def test_every_unit_counts_once_whatever_is_killed_and_cut(stage: GatewayStage, tmp_path: Path) -> None:
    seed = SystemRandom().randrange(2**32)
    print(f"seed {seed}")
    random, kafka = Random(seed), stage.stack.kafka
    assert kafka is not None
    with CuttingProxy(stage.stack.settings.gateway.port, seed, CUT_SHARE) as proxy:
        names = [f"device-{number}" for number in range(CLIENTS)]
        devices = [Application(tmp_path, name, proxy.url, stage.keys["A"]) for name in names]
        for device in devices:
            device.start()
        faults = ["broker", "gateway", "gateway", "worker", "client", "client", "client"] * (FAULTS // 7)
        random.shuffle(faults)
        for fault in faults:
            sleep(random.uniform(0.5, 2.5))  # so that faults hit whatever happens to be under way
            if fault == "broker":
                kafka.kill()
                sleep(random.uniform(0, 1.0))
                kafka.start()
            elif fault == "client":
                device = random.choice(devices)
                device.kill()
                device.start()
            else:
                victim = stage.gateway if fault == "gateway" else stage.worker
                victim.kill()
                victim.start()
            stage.stack.check()
        stage.until(lambda: proxy.cuts >= CUTS, f"{CUTS} answers were cut off", seconds=60)
        for device in devices:
            device.end()
        deadline = monotonic() + 240
        while not all(device.finished for device in devices):
            stage.stack.check()
            for device in devices:
                assert device.process is not None
                if device.process.poll() not in (None, 0):
                    device.start()  # it gave up while the server was away, as an application might
            assert monotonic() < deadline, "\n".join(device.log.read_text()[-1_000:] for device in devices)
            sleep(0.2)
        print(f"{proxy.cuts} answers were cut off")
    assert_each_unit_once(stage, devices)


def test_a_client_that_is_killed_at_any_line_of_its_send_loop(stage: GatewayStage, tmp_path: Path) -> None:
    seed = SystemRandom().randrange(2**32)
    print(f"seed {seed}")
    random = Random(seed)
    device = Application(tmp_path, "victim", stage.url, stage.keys["A"])
    step = LINES // KILLS
    for number in range(KILLS):
        device.start(kill_at_line=number * step + random.randrange(1, step + 1))
        assert device.process is not None
        assert device.process.wait(60) == -signal.SIGKILL, device.log.read_text()[-3_000:]
        device.kills += 1
    device.end()
    device.start()
    device.finish()
    assert_each_unit_once(stage, [device])
