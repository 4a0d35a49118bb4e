# The two commands: `make run` and `make test`. Each sets up what is missing, builds, and does its job.
# ARGS go to `fedact run`: make run ARGS="-f pipelines/folders.yaml"

.PHONY: run test lint install setup

PREFIX ?= $(HOME)/.local

run: setup
	cargo build
	cargo run --quiet -- run $(ARGS)

test: setup
	OMP_WAIT_POLICY=PASSIVE cargo test --workspace

lint: setup
	cargo fmt --all --check
	cargo clippy --workspace --all-targets -- -D warnings

# The command and, beside it, the library that it loads.
install: setup
	cargo build
	install -D target/debug/fedact $(DESTDIR)$(PREFIX)/bin/fedact
	install -D target/debug/deps/libfedact_work.so $(DESTDIR)$(PREFIX)/lib/libfedact_work.so

setup:
	@scripts/setup.sh
