"""A Flower app whose clients learn nothing: they send back what they were given, a little changed. `fleet.py` runs it.

Its run's configuration says how many `clients` and `numbers` there are, how many `rounds` and the `report`, a file that gets a line,
the number of the round, when one is done.
"""

from pathlib import Path

import numpy as np
from flwr.client import ClientApp, NumPyClient
from flwr.common import ndarrays_to_parameters
from flwr.server import ServerApp, ServerAppComponents, ServerConfig
from flwr.server.strategy import FedAvg


class Sender(NumPyClient):
    def fit(self, parameters, _config):
        return [numbers + np.float32(1e-3) * (np.arange(numbers.size) % 1000).astype(np.float32) for numbers in parameters], 1, {}


def at_the_server(context):
    given = context.run_config
    report = Path(str(given["report"]))

    def done(number, _parameters, _config):
        with report.open("a") as file:
            file.write(f"{number}\n")

    strategy = FedAvg(
        fraction_evaluate=0.0,
        min_fit_clients=int(given["clients"]),
        min_available_clients=int(given["clients"]),
        initial_parameters=ndarrays_to_parameters([np.zeros(int(given["numbers"]), np.float32)]),
        evaluate_fn=done,
    )
    return ServerAppComponents(strategy=strategy, config=ServerConfig(num_rounds=int(given["rounds"])))


server = ServerApp(server_fn=at_the_server)
client = ClientApp(client_fn=lambda _context: Sender().to_client())
