"""FLUTE's published case in Flower, in a process of its own: `regressors.py ROUNDS`.

Prints one line of JSON: rounds, seconds by the clock, those that processors worked up to the end of the last round in this process and
all below it, accuracy before and after, and the most memory in MiB that they had together at the end of a round. The client is
NumPy alone, so that no other framework's start is in it; data are made as `crates/federation/benches/federation/regression.rs`
makes them, each client's when it is asked, which is left out of the seconds of neither.
"""

import json
import logging
import os
import sys
import time

import numpy as np
from peers import usage

CLIENTS, PER_ROUND, EXAMPLES, BATCH, RATE, FEATURES, CLASSES = 1000, 10, 60, 10, 0.03, 784, 10


def examples(count, seed):
    centres = np.random.default_rng(5).standard_normal((CLASSES, FEATURES), dtype=np.float32)
    classes = np.arange(count) % CLASSES
    noise = np.random.default_rng(seed).standard_normal((count, FEATURES), dtype=np.float32)
    return 0.05 * centres[classes] + 0.5 * noise, classes


def shares(weights, biases, features):
    scores = features @ weights.T + biases
    powers = np.exp(scores - scores.max(axis=1, keepdims=True))
    return powers / powers.sum(axis=1, keepdims=True)


def train(weights, biases, features, classes):
    weights, biases = weights.copy(), biases.copy()
    for start in range(0, len(classes), BATCH):
        batch, truth = features[start : start + BATCH], classes[start : start + BATCH]
        errors = shares(weights, biases, batch)
        errors[np.arange(len(truth)), truth] -= 1
        weights -= RATE / BATCH * errors.T @ batch
        biases -= RATE / BATCH * errors.sum(axis=0)
    return weights, biases


def main():
    rounds = int(sys.argv[1])
    from flwr.client import ClientApp, NumPyClient
    from flwr.common import ndarrays_to_parameters
    from flwr.server import ServerApp, ServerAppComponents, ServerConfig
    from flwr.server.strategy import FedAvg
    from flwr.simulation import run_simulation

    logging.getLogger("flwr").setLevel(logging.ERROR)
    features, classes = examples(1000, 1)
    scores, usages = [], []

    def evaluate(number, parameters, _config):
        if number in (0, rounds):
            found = shares(*parameters, features).argmax(axis=1)
            scores.append(float((found == classes).mean()))
        usages.append(usage(os.getpid()))
        return 0.0, {}

    class Client(NumPyClient):
        def __init__(self, number):
            self.examples = examples(EXAMPLES, 2 + number)

        def fit(self, parameters, _config):
            return list(train(*parameters, *self.examples)), EXAMPLES, {}

    def client(context):
        return Client(int(context.node_config["partition-id"])).to_client()

    def server(_context):
        start = [np.zeros((CLASSES, FEATURES), np.float32), np.zeros(CLASSES, np.float32)]
        strategy = FedAvg(
            fraction_fit=PER_ROUND / CLIENTS,
            min_fit_clients=PER_ROUND,
            min_available_clients=CLIENTS,
            fraction_evaluate=0.0,
            initial_parameters=ndarrays_to_parameters(start),
            evaluate_fn=evaluate,
        )
        return ServerAppComponents(strategy=strategy, config=ServerConfig(num_rounds=rounds))

    began, (worked, _) = time.perf_counter(), usage(os.getpid())
    run_simulation(
        server_app=ServerApp(server_fn=server),
        client_app=ClientApp(client_fn=client),
        num_supernodes=CLIENTS,
        backend_config={
            "client_resources": {"num_cpus": 1, "num_gpus": 0.0},
            "init_args": {"include_dashboard": False, "log_to_driver": False},
        },
    )
    seconds = time.perf_counter() - began
    print(json.dumps({"rounds": rounds, "seconds": seconds, "processor_seconds": usages[-1][0] - worked,
                      "top1_before": scores[0], "top1": scores[-1], "peak_mib": max(peak for _, peak in usages)}))


if __name__ == "__main__":
    main()
