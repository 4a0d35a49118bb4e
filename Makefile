# The two commands: `make run` and `make test`. Each sets up what is missing, builds, and does its job.
# ARGS go to `fedact run`: make run ARGS="-f pipelines/folders.yaml"

.PHONY: run test lint setup

run: setup
	cargo build
	cargo run --quiet -- run $(ARGS)

test: setup
	OMP_WAIT_POLICY=PASSIVE cargo test --workspace

lint: setup
	cargo fmt --all --check
	cargo clippy --workspace --all-targets -- -D warnings

setup:
	@scripts/setup.sh
