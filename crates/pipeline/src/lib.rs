//! From pipeline.yaml to a graph, keys, a plan and a run.

